//! The API of a Kubernetes cluster in which nothing is. Istio's programs ask it for objects, and want lists and watches.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longer than any request of the control plane.
const MAX_REQUEST: usize = 1 << 20;

/// Kinds whose names are not those of their lists, with a capital letter and without the `s`.
const KINDS: [(&str, &str); 13] = [
    ("configmaps", "ConfigMap"),
    ("customresourcedefinitions", "CustomResourceDefinition"),
    ("endpointslices", "EndpointSlice"),
    ("ingressclasses", "IngressClass"),
    ("ingresses", "Ingress"),
    ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    ("namespaces", "Namespace"),
    ("nodes", "Node"),
    ("pods", "Pod"),
    ("secrets", "Secret"),
    ("serviceaccounts", "ServiceAccount"),
    ("services", "Service"),
    ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
];

/// It ends when dropped.
pub struct KubernetesApi {
    port: u16,
    task: JoinHandle<()>,
}

impl KubernetesApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away is no mistake.
                tokio::spawn(async move { drop(serve(stream).await) });
            }
        });
        Self { port, task }
    }

    /// The file that tells clients where it is.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "none", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "none", "context": {"cluster": "none", "user": "nobody"}}],
            "current-context": "none",
        })
        .to_string()
    }
}

impl Drop for KubernetesApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one request, and then closes the connection.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let wants_metadata = request.contains("as=PartialObjectMetadata");
    let Some(list) = list(path, wants_metadata).filter(|_| method == "GET") else {
        return answer(
            &mut stream,
            if method == "GET" { "404 Not Found" } else { "403 Forbidden" },
            &json!({}),
        )
        .await;
    };
    if !query.contains("watch=") {
        return answer(&mut stream, "200 OK", &list).await;
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    if query.contains("sendInitialEvents=true") {
        let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
        let event = json!({"type": "BOOKMARK", "object": {
            "kind": kind,
            "apiVersion": list["apiVersion"],
            "metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}},
        }});
        stream.write_all(format!("{event}\n").as_bytes()).await?;
    }
    // Nothing ever happens. The client ends the watch.
    while stream.read(&mut part).await? > 0 {}
    Ok(())
}

async fn answer(stream: &mut TcpStream, status: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}

/// The list at a path; `None` for a single object, which does not exist.
fn list(path: &str, wants_metadata: bool) -> Option<Value> {
    if path == "/version" {
        return Some(json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0"}));
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, inside @ ..] if !inside.is_empty() => inside,
        rest => rest,
    };
    let [name] = rest else {
        let resources =
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []});
        return rest.is_empty().then_some(resources);
    };
    let kind = KINDS.iter().find(|(plural, _)| plural == name).map_or(*name, |(_, kind)| kind);
    let (kind, version) =
        if wants_metadata { ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()) } else { (kind, version) };
    let kind = format!("{kind}List");
    Some(json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}))
}
