        server.get("/state").cookie(&cookie).send().await.assert_anonymous();
    }
    put(&forge::fingerprint(&genuine, &server.keys, CONTEXT)).await;
    assert_eq!(mallory.state().await["data"], json!({ "a": "1" }), "only the bytes that we issued are admitted");
