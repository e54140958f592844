//! Credentials: their sources, and the places where they must not appear.

use super::*;

#[test]
fn no_message_and_no_debug_output_contains_a_credential() {
    let debug = format!("{:?}", load_json(&full()).unwrap());
    for secret in ["sk-from-env", "value-secret?", "header secret"] {
        assert!(!debug.contains(secret), "{debug}");
    }
    let secret = "sk-very secret";
    for (pointer, value) in [
        ("/accounts/openai-a/key", json!(secret)),
        ("/accounts/openai-a", json!(secret)),
        ("/accounts/openai-a/key", json!([secret])),
        ("/accounts/openai-a/key", json!({"env": secret})),
        ("/accounts/openai-a/key", json!({"env": "AIzaSyverysecret"})),
        ("/accounts/openai-a/key", json!({"env": "BROKEN"})),
        ("/accounts/openai-a/key", json!({"value": secret})),
        ("/accounts/openai-a/key", json!({"value": [secret]})),
        ("/accounts/openai-a/key", json!({"value": 733733733})),
        ("/targets/az/key", json!({"value": format!("{secret}\nx")})),
        ("/providers/openai/headers/X-Foo", json!(format!("{secret}\n"))),
        ("/providers/openai/headers/X-Foo", json!([secret])),
        ("/providers/openai/path_prefix", json!(format!("/v1?key={secret}"))),
        ("/providers/openai/host", json!(format!("{secret}@host"))),
        ("/keys/team-a/sha256", json!(secret)),
    ] {
        let text = load_json(&with(full(), pointer, value)).unwrap_err().to_string();
        for part in ["very", "secret ", "secret\n", "sk-", "sk ", "broken", "733733733"] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_missing_or_empty_variable_is_reported_with_the_way_to_set_it() {
    for name in ["UNSET", "EMPTY"] {
        check_change(
            "/accounts/openai-a/key/env",
            json!(name),
            &format!(
                "accounts.openai-a.key.env: environment variable `{name}` is unset or empty in the filter's VM; set it \
                 for Envoy and list it in `vm_config.environment_variables.host_env_keys`"
            ),
        );
    }
    check_change(
        "/accounts/openai-a/key/env",
        json!("BROKEN"),
        "accounts.openai-a.key.env: holds a key with spaces, line breaks or other characters that are not visible ASCII; \
         write the bare key, without `Bearer`",
    );
}

#[test]
fn the_fingerprint_depends_on_the_configuration_but_not_on_secrets() {
    let of = |config: &Value| load_json(config).unwrap().fingerprint();
    assert_eq!(of(&full()), of(&with(full(), "/targets/az/key/value", json!("other"))));
    assert_ne!(of(&full()), of(&with(full(), "/targets/gpt-a/weight", json!(3))));
    assert_ne!(of(&full()), of(&with(full(), "/providers/openai/headers/x-new", json!("v"))));
    for (pointer, value) in [
        ("/breaker/open", json!("2s")),
        ("/breaker/failure_ratio", json!(0.26)),
        ("/mode", json!("enforce")),
        ("/models/chat/when_all_open", json!("refuse")),
    ] {
        assert_ne!(of(&full()), of(&with(full(), pointer, value)), "{pointer}");
    }
}

#[test]
fn injected_keys_need_a_cluster_of_their_own() {
    let injected = json!({"injected": true});
    let config = with(full(), "/accounts/openai-a", json!({"provider": "openai", "key": injected}));
    let config = load_json(&config).unwrap();
    let target = config.targets().iter().find(|target| &*target.name == "gpt-a").unwrap();
    let account = config.account(target.account).unwrap();
    assert!(account.key.is_own() && account.key.secret().is_none() && account.cluster.is_none());
    // Another account of this provider with a cluster of its own is another account, one without is not.
    let two = |cluster: Option<&str>| {
        let first = with(full(), "/accounts/openai-a", json!({"provider": "openai", "key": injected}));
        let second = match cluster {
            Some(cluster) => json!({"provider": "openai", "key": injected, "cluster": cluster}),
            None => json!({"provider": "openai", "key": injected}),
        };
        load_json(&with(first, "/accounts/openai-c", second))
    };
    assert!(two(Some("openai-c")).is_ok());
    let text = two(None).unwrap_err().to_string();
    assert!(
        text.contains(
            "accounts.openai-c: gets the key that Envoy injects in the cluster `oa`, like `openai-a`"
        ),
        "{text}"
    );
    // The same for a target with a key of its own.
    let twice = with(full(), "/accounts/openai-a", json!({"provider": "openai", "key": injected}));
    let target = json!({"provider": "openai", "key": injected, "model": "m"});
    let text = load_json(&with(twice, "/targets/own", target)).unwrap_err().to_string();
    assert!(text.contains("targets.own: gets the key"), "{text}");
}
