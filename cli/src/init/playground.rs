//! The gateway of docker-compose.yaml. `UPDATE_SHIPPED=1` writes its file.

use llm_failsafe::provider::ProviderKind;

use super::description::{Account, Description, Model, NamedDigest, Provider, Secret, Socket, Target};
use super::examples::shipped;

/// What the file of the playground says of itself.
const PLAYGROUND: &str =
    "# docker-compose.yaml runs this one, with scripted providers, and with the admin interface open to Prometheus in
# another container. The operator's key is \"operator\". Use a long random key in production.\n";
/// The SHA-256 of \"operator\".
const OPERATOR: &str = "06e55b633481f7bb072957eabcf110c972e86691c3cfedabe088024bffe42f23";

/// The gateway of docker-compose.yaml.
pub fn playground() -> Description {
    let provider = |name: &str| Provider {
        name: name.to_owned(),
        kind: ProviderKind::OpenAi,
        server: Socket { host: name.to_owned(), port: 8080 },
        tls: false,
        host: Some(name.to_owned()),
        path_prefix: None,
    };
    let account =
        |name: &str| Account { name: name.to_owned(), provider: name.to_owned(), secret: Secret::None };
    let target = |name: &str, account: &str| Target {
        name: name.to_owned(),
        account: account.to_owned(),
        model: "gpt-4.1-mini".to_owned(),
        weight: None,
    };
    Description {
        purpose: Some(PLAYGROUND),
        file: "envoy/playground.yaml".to_owned(),
        admin: Socket { host: "0.0.0.0".to_owned(), port: 9901 },
        providers: vec![provider("provider-a"), provider("provider-b")],
        accounts: vec![account("provider-a"), account("provider-b")],
        targets: vec![target("small-a", "provider-a"), target("small-b", "provider-b")],
        models: vec![Model {
            name: "chat".to_owned(),
            tiers: vec![vec!["small-a".to_owned()], vec!["small-b".to_owned()]],
            sticky: false,
        }],
        operators: vec![NamedDigest { name: "operator".to_owned(), sha256: OPERATOR.to_owned() }],
        ..shipped(true)
    }
}
