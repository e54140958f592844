//! What lives at one account: stored responses, files, batches. Two accounts behind one Envoy with two workers.

use hyper::Method;
use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

/// Two accounts that make responses for the model `chat`.
async fn start(shape: Shape, more: &Value) -> Scene<2> {
    let mut configuration = json!({
        "providers": {"one": compatible("one"), "two": compatible("two")},
        "accounts": {
            "one": {"provider": "one", "key": {"value": "sk-one"}},
            "two": {"provider": "two", "key": {"value": "sk-two"}},
        },
        "targets": {"t1": {"account": "one", "model": "m"}, "t2": {"account": "two", "model": "m"}},
        "models": {"chat": {"targets": ["t1", "t2"]}},
    });
    for (name, value) in more.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    Gateway::new(shape).plugin(&configuration).concurrency(2).start_with(["one", "two"]).await
}

#[tokio::test]
async fn every_worker_asks_the_account_that_made_a_response() {
    for shape in [Shape::Loop, Shape::Single] {
        let scene = start(shape, &json!({})).await;
        let mut makers = [0, 0];
        for number in 0..12 {
            let body = json!({"model": "chat", "input": "hello", "prompt_cache_key": number.to_string()});
            let made = Request::post("/v1/responses").json(&body).ask(scene.port()).await;
            assert_eq!(made.status, 200, "{}", made.text());
            let maker = usize::from(made.header("x-llm-target") == Some("t2"));
            makers[maker] += 1;
            let id = made.json()["id"].as_str().unwrap().to_owned();
            let before = scene.counts();
            for request in [
                Request::get(&format!("/v1/responses/{id}?include[]=reasoning.encrypted_content")),
                Request::new(Method::DELETE, &format!("/v1/responses/{id}")),
                Request::post(&format!("/v1/responses/{id}/cancel")),
                Request::get(&format!("/v1/responses/{id}/input_items?limit=5")),
            ] {
                scene.envoy.ask(request).await;
            }
            let mut expected = before;
            expected[maker] += 4;
            assert_eq!(scene.counts(), expected, "{id}");
            let received = scene.providers[maker].received();
            let [get, delete, cancel, items] = &received[received.len() - 4..] else { unreachable!() };
            assert_eq!(get.path, format!("/v1/responses/{id}?include[]=reasoning.encrypted_content"));
            assert_eq!((&*delete.method, &*cancel.method), ("DELETE", "POST"));
            assert_eq!(items.path, format!("/v1/responses/{id}/input_items?limit=5"));
            let key = ["Bearer sk-one", "Bearer sk-two"][maker];
            assert!(received[received.len() - 4..].iter().all(|it| it.header("authorization") == Some(key)));
        }
        assert!(makers.iter().all(|made| *made > 0), "{makers:?}");
        let unknown = scene.envoy.ask(Request::get("/v1/responses/resp_unknown")).await;
        assert_eq!(
            (unknown.status.as_u16(), unknown.header("x-llm-reason")),
            (404, Some("response_not_found"))
        );
    }
}

#[tokio::test]
async fn an_upload_larger_than_any_body_reaches_its_account_and_no_key_is_passed_by() {
    let keys =
        json!({"free": {"sha256": sha256("free")}, "bound": {"sha256": sha256("bound"), "models": ["chat"]}});
    for shape in [Shape::Loop, Shape::Single] {
        let more = json!({"resources": {"account": "two"}, "keys": keys, "limits": {"max_body": "1KiB"}});
        let scene = start(shape, &more).await;
        let [one, two] = &scene.providers;
        let upload = |key: &str| {
            Request::post("/v1/files?purpose=batch")
                .bytes(vec![b'x'; 300_000])
                .header("content-type", "multipart/form-data; boundary=x")
                .header("authorization", &format!("Bearer {key}"))
        };
        for (key, status) in [("wrong", 401), ("bound", 403)] {
            assert_eq!(scene.envoy.ask(upload(key)).await.status, status, "{key}");
        }
        assert!(two.received().is_empty());
        scene.envoy.ask(upload("free")).await;
        let received = two.received();
        assert_eq!((received.len(), one.received().len()), (1, 0));
        assert_eq!(received[0].path, "/v1/files?purpose=batch");
        assert_eq!(received[0].body.len(), 300_000);
        assert_eq!(received[0].header("authorization"), Some("Bearer sk-two"));
        assert_eq!(received[0].header("content-type"), Some("multipart/form-data; boundary=x"));
        for path in ["/v1/files/../organization/admin_api_keys", "/v1/files/%2e%2e/x", "/v1/organization"] {
            let read = Request::get(path).header("authorization", "Bearer free").ask(scene.port()).await;
            assert_eq!(read.status, 404, "{path}");
        }
        assert_eq!(two.received().len(), 1);
    }
}
