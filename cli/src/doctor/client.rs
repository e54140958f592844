//! The HTTP client: bounded in time and size, and without redirects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};

/// How long a report may take.
const REPORT_TIME: Duration = Duration::from_secs(10);
/// How long a model may take for one short answer.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// The most that is read of a response. A status report with the most targets has less than 1 MiB.
const MAX_RESPONSE_BYTES: u64 = 4 * 1024 * 1024;
/// The largest file with certificates.
const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;

/// Sends requests.
pub struct Client {
    agent: Agent,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The reason that the filter gives for its own errors.
    pub fn reason(&self) -> Option<&str> {
        self.header("x-llm-reason")
    }

    /// Status and server, for answers that nothing else is known of.
    pub fn described(&self) -> String {
        let server = self.header("server").map(|server| format!(" from `{server}`")).unwrap_or_default();
        format!("status {}{server}", self.status)
    }
}

impl Client {
    /// With the certificates in this file instead of the well-known ones.
    pub fn new(ca: Option<&Path>) -> Result<Self, String> {
        let tls = match ca {
            None => TlsConfig::default(),
            Some(path) => TlsConfig::builder().root_certs(roots(path)?).build(),
        };
        let config = Agent::config_builder()
            .timeout_global(Some(REPORT_TIME))
            .http_status_as_error(false)
            .max_redirects(0)
            // The gateway and the admin interface are near, where a proxy for the internet does not lead.
            .proxy(None)
            .max_redirects_will_error(false)
            .user_agent(concat!("llm-failsafe-doctor/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Ok(Self { agent: config.into() })
    }

    /// Gets a page, with this key if there is one.
    pub fn get(&self, url: &str, key: Option<&str>) -> Result<Answer, String> {
        let mut request = self.agent.get(url);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {}", key.trim()));
        }
        read(request.call())
    }

    /// Sends JSON, with this key if there is one.
    pub fn post(&self, url: &str, key: Option<&str>, body: &Value) -> Result<Answer, String> {
        let mut request = self.agent.post(url).config().timeout_global(Some(ANSWER_TIME)).build();
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {}", key.trim()));
        }
        let request = request.header("content-type", "application/json");
        read(request.send(body.to_string()))
    }
}

fn read(response: Result<Response<Body>, Error>) -> Result<Answer, String> {
    let mut response = response.map_err(|error| in_words(&error))?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let headers = headers.collect();
    let status: StatusCode = response.status();
    let bytes = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
    let bytes = bytes.map_err(|error| in_words(&error))?;
    Ok(Answer { status: status.as_u16(), body: String::from_utf8_lossy(&bytes).into_owned(), headers })
}

fn roots(path: &Path) -> Result<RootCerts, String> {
    let at = |problem: &str| format!("{}: {problem}", path.display());
    let length = std::fs::metadata(path).map_err(|error| at(&error.to_string()))?.len();
    if length > MAX_CA_BYTES {
        return Err(at(&format!("has {length} bytes, at most {MAX_CA_BYTES} are read")));
    }
    let pem = std::fs::read(path).map_err(|error| at(&error.to_string()))?;
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(at(&error.to_string())),
        }
    }
    if roots.is_empty() {
        Err(at("contains no certificate in PEM form"))
    } else {
        Ok(RootCerts::Specific(Arc::new(roots)))
    }
}

/// Why there is no answer.
fn in_words(error: &Error) -> String {
    match error {
        Error::HostNotFound => "its host name is not known (DNS)".to_owned(),
        Error::ConnectionFailed => "nothing accepts the connection".to_owned(),
        Error::Timeout(_) => "there was no answer in time".to_owned(),
        Error::BodyExceedsLimit(limit) => format!("its answer has more than {limit} bytes"),
        Error::Protocol(_) => "what answers there does not speak HTTP".to_owned(),
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nothing listens there (connection refused)".to_owned()
        }
        other => certificate(&other.to_string()).unwrap_or_else(|| other.to_string()),
    }
}

/// What is wrong with a server's certificate, from the error of rustls.
fn certificate(error: &str) -> Option<String> {
    let (_, problem) = error.split_once("invalid peer certificate: ")?;
    let known = [
        (
            "UnknownIssuer",
            "nobody that is trusted has signed its certificate; give the certificate of the one who has with --ca",
        ),
        (
            "CaUsedAsEndEntity",
            "its certificate is that of an authority (`CA:TRUE`) and not of a server; `openssl req -x509` makes one of a \
             server with `-addext basicConstraints=critical,CA:FALSE`",
        ),
        ("not valid for name", "its certificate is for another name than the one in the URL"),
        ("NotValidForName", "its certificate is for another name than the one in the URL"),
        ("xpired", "its certificate has expired"),
        ("NotValidYet", "its certificate is not valid yet"),
    ];
    let found = known.iter().find(|(sign, _)| problem.contains(sign));
    Some(found.map_or_else(
        || format!("its certificate is not accepted: {problem}"),
        |(_, words)| (*words).to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_reported_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "no certificate").unwrap();
        let problem = Client::new(Some(&path)).err().unwrap();
        assert!(problem.ends_with("ca.pem: contains no certificate in PEM form"), "{problem}");
        assert!(Client::new(Some(Path::new("/nowhere"))).err().unwrap().starts_with("/nowhere: "));
        std::fs::File::create(&path).unwrap().set_len(MAX_CA_BYTES + 1).unwrap();
        assert!(Client::new(Some(&path)).err().unwrap().contains("at most 4194304 are read"));
    }
}
