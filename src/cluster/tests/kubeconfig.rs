//! Valid and invalid kubeconfig files.

use std::fs;
use std::path::Path;

use kube::Config;
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::{Value, json};

use super::*;
use crate::apiserver::ConnectionError;

const SERVER: &str = "http://192.0.2.10:6443";

fn read(path: &Path) -> Result<Config, ConnectionError> {
    Access::Kubeconfig(path.to_owned()).read()
}

/// The user section of a kubeconfig, with its secrets.
fn user(path: &Path) -> Value {
    serde_json::to_value(read(path).unwrap().auth_info).unwrap()
}

#[test]
fn a_token_comes_from_the_file_or_from_another_one_beside_it() {
    let folder = folder();
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::write(folder.path().join("run/token"), format!("{TOKEN}\n")).unwrap();
    let absolute = folder.path().join("run/token");
    for credentials in [
        json!({"token": TOKEN}),
        json!({"tokenFile": "run/token"}),
        json!({"tokenFile": absolute}),
        // The token file is refreshed, an inline token is not.
        json!({"token": "an.old.one", "tokenFile": "run/token"}),
    ] {
        let path = written(&folder, &one_cluster(json!({"server": SERVER}), credentials));
        let user = user(&path);
        assert_eq!(user["token"], TOKEN);
        assert_eq!(user["tokenFile"], Value::Null);
    }
    fs::write(folder.path().join("run/token"), "the.next").unwrap();
    assert_eq!(
        user(&written(&folder, &one_cluster(json!({"server": SERVER}), json!({"tokenFile": "run/token"}))))["token"],
        "the.next"
    );
}

#[test]
fn the_current_one_of_several_contexts_counts() {
    let folder = folder();
    let mut kubeconfig = one_cluster(json!({"server": "https://192.0.2.99"}), json!({"exec": {"command": "login"}}));
    kubeconfig["current-context"] = json!("there");
    kubeconfig["contexts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "there", "context": {"cluster": "d", "user": "v"}}));
    kubeconfig["clusters"].as_array_mut().unwrap().push(json!({"name": "d", "cluster": {"server": SERVER}}));
    kubeconfig["users"].as_array_mut().unwrap().push(json!({"name": "v", "user": {"token": TOKEN}}));
    let path = written(&folder, &kubeconfig);
    assert_eq!(read(&path).unwrap().cluster_url.to_string(), format!("{SERVER}/"));
    assert_eq!(user(&path)["token"], TOKEN);
}

#[test]
fn certificates_stand_in_the_file_or_beside_it() {
    let folder = folder();
    let (cert, _) = certificate("authority");
    fs::write(folder.path().join("ca.pem"), &cert).unwrap();
    let data = serde_json::to_value(k8s_openapi::ByteString(cert.into_bytes())).unwrap();
    let server = "https://192.0.2.10:6443";
    let inline = json!({"server": server, "certificate-authority-data": data, "certificate-authority": "missing.pem"});
    let beside = json!({"server": server, "certificate-authority": "ca.pem", "tls-server-name": "kubernetes"});
    let certs = |cluster| read(&written(&folder, &one_cluster(cluster, json!({})))).unwrap().root_cert.unwrap();
    assert_eq!(certs(inline), certs(beside));

    let credentials = json!({"client-certificate": "client.pem", "client-key": "/run/key.pem"});
    let user = user(&written(&folder, &one_cluster(json!({"server": SERVER}), credentials)));
    assert_eq!(user["client-certificate"], json!(folder.path().join("client.pem")));
    assert_eq!(user["client-key"], "/run/key.pem");
}

#[test]
fn a_client_certificate_in_the_file_is_used() {
    let folder = folder();
    let ((server_cert, server_key), (client_cert, client_key)) = (certificate("server"), certificate("client"));
    let data = |pem: &str| serde_json::to_value(k8s_openapi::ByteString(pem.as_bytes().to_vec())).unwrap();
    let scenario = responds(200, &partial(&metadata()));
    let server = FakeServer::secure(scenario, tls(&(server_cert.clone(), server_key), Some(&client_cert))).unwrap();
    let kubeconfig = one_cluster(
        json!({"server": server.url(), "certificate-authority-data": data(&server_cert)}),
        json!({"client-certificate-data": data(&client_cert), "client-key-data": data(&client_key)}),
    );
    let api = ApiServer::open(&written(&folder, &kubeconfig), Deadline::after(LONG)).unwrap();
    assert!(api.pod(&pod_ref(None)).is_ok());
}

#[test]
fn every_wrong_file_is_told_apart_and_is_code_7() {
    let folder = folder();
    let (cert, _) = certificate("authority");
    fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("two-lines"), "secret\nsecret").unwrap();
    let plain = || json!({"server": SERVER});
    let https = |key: &str, value: &str| json!({"server": "https://192.0.2.10:6443", key: value});
    let of = |cluster: Value, user: Value| one_cluster(cluster, user).to_string().into_bytes();
    let without = |key: &str, value: Value| {
        let mut kubeconfig = of_token(SERVER);
        kubeconfig[key] = value;
        kubeconfig.to_string().into_bytes()
    };
    let pair = |cert: &str, key: &str| json!({"client-certificate": cert, "client-key": key});
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("nothing in it", Vec::new()),
        ("a text", b"secret: [secret".to_vec()),
        ("binary", b"apiVersion: v1\n\xff\xfe\x00".to_vec()),
        ("a list", b"- secret".to_vec()),
        ("a wrong type", b"kind: Config\nusers: secret".to_vec()),
        ("too large", vec![b'#'; 2 << 20]),
        ("no current context", without("current-context", json!(""))),
        ("no such context", without("current-context", json!("there"))),
        ("no such cluster", without("clusters", json!([]))),
        ("no such user", without("users", json!([]))),
        ("no server", of(json!({}), json!({}))),
        ("a server without scheme", of(json!({"server": "192.0.2.10:6443"}), json!({}))),
        ("a server of another scheme", of(json!({"server": "unix://run"}), json!({}))),
        ("a password in the URL", of(json!({"server": "https://me:secret@192.0.2.10"}), json!({}))),
        ("a password in what is no URL", of(json!({"server": "https://me:sec ret@192.0.2.10"}), json!({}))),
        ("a proxy", of(json!({"server": SERVER, "proxy-url": "http://192.0.2.1"}), json!({}))),
        ("no authority", of(https("x", ""), json!({}))),
        ("an authority that is missing", of(https("certificate-authority", "ca.pem"), json!({}))),
        ("an authority that is none", of(https("certificate-authority", "two-lines"), json!({}))),
        ("an authority of no base64", of(https("certificate-authority-data", "se:cret"), json!({}))),
        ("an exec plugin", of(plain(), json!({"exec": {"command": "login", "apiVersion": "v1"}}))),
        ("an auth-provider", of(plain(), json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "login"}}}))),
        ("a token file that is missing", of(plain(), json!({"tokenFile": "token"}))),
        ("a token file that is empty", of(plain(), json!({"tokenFile": "empty"}))),
        ("a token file of two lines", of(plain(), json!({"tokenFile": "two-lines"}))),
        ("a token of two lines", of(plain(), json!({"token": "secret\nsecret"}))),
        ("a certificate alone", of(plain(), json!({"client-certificate": "cert.pem"}))),
        ("a key alone", of(plain(), json!({"client-key-data": "c2VjcmV0"}))),
        ("a certificate that is missing", of(plain(), pair("missing.pem", "two-lines"))),
        ("a key that is none", of(plain(), pair("cert.pem", "two-lines"))),
        ("a key of no base64", of(plain(), json!({"client-certificate": "cert.pem", "client-key-data": "se:cret"}))),
    ];
    let mut texts = Vec::new();
    let mut refused = |name: &str, path: &Path| {
        let Err(error) = ApiServer::open(path, Deadline::after(LONG)) else { panic!("{name}") };
        assert!(matches!(error, ClusterError::Kubeconfig { .. }), "{name}");
        texts.push(format!(
            "{name}: {}",
            shown(error, SERVER, &folder).replace("kubeconfig 7 can't use the kubeconfig /etc/kubeconfig: ", "")
        ));
    };
    refused("no file", &folder.path().join("none"));
    refused("a folder", folder.path());
    for (name, content) in files {
        let path = folder.path().join("kubeconfig");
        fs::write(&path, content).unwrap();
        refused(name, &path);
    }
    insta::assert_snapshot!(texts.join("\n"), @r#"
    no file: kubeconfig 7 can't use the kubeconfig /etc/none: there is no such file; the pod's annotations are read with it; "kubeConfig" in the ipam block or in the node defaults names another one, and "annotations": false makes the network read none
    a folder: kubeconfig 7 can't use the kubeconfig /etc: it can't be read: it is not a regular file; correct the file, or write a new one
    nothing in it: it has no current-context; correct the file, or write a new one
    a text: it is not valid YAML (line 1); correct the file, or write a new one
    binary: it is not valid YAML (line 2); correct the file, or write a new one
    a list: it is not valid YAML (line 1); correct the file, or write a new one
    a wrong type: it is not valid YAML (line 2); correct the file, or write a new one
    too large: it can't be read: it is larger than 1 MiB; correct the file, or write a new one
    no current context: it has no current-context; correct the file, or write a new one
    no such context: its current-context "there" is not among its contexts; correct the file, or write a new one
    no such cluster: its cluster "c" is not among its clusters; correct the file, or write a new one
    no such user: its user "u" is not among its users; correct the file, or write a new one
    no server: its server "" is not the URL of an API server; it must look like "https://192.0.2.10:6443"; correct the file, or write a new one
    a server without scheme: its server "192.0.2.10:6443" is not the URL of an API server; it must look like "https://192.0.2.10:6443"; correct the file, or write a new one
    a server of another scheme: its server "unix://run" is not the URL of an API server; it must look like "https://192.0.2.10:6443"; correct the file, or write a new one
    a password in the URL: its server has a user or password in its URL; move them to the file's users; correct the file, or write a new one
    a password in what is no URL: its server has a user or password in its URL; move them to the file's users; correct the file, or write a new one
    a proxy: its cluster has a proxy-url; kube-ipam asks the API server directly; correct the file, or write a new one
    no authority: its cluster has no certificate-authority, without which https://192.0.2.10:6443 can't be trusted; name the authority's file; for a public one, the system's list, such as /etc/ssl/certs/ca-certificates.crt
    an authority that is missing: its certificate-authority /etc/ca.pem can't be read: No such file or directory (os error 2); correct the file, or write a new one
    an authority that is none: its certificate-authority holds no certificate in PEM form; correct the file, or write a new one
    an authority of no base64: its certificate-authority-data holds no base64; correct the file, or write a new one
    an exec plugin: its user has an exec plugin; kube-ipam runs no other program for its credentials; give the user a token, tokenFile, or client certificate
    an auth-provider: its user has an auth-provider; kube-ipam runs no other program for its credentials; give the user a token, tokenFile, or client certificate
    a token file that is missing: its tokenFile /etc/token can't be read: No such file or directory (os error 2); correct the file, or write a new one
    a token file that is empty: its tokenFile holds no token; correct the file, or write a new one
    a token file of two lines: its tokenFile holds no token; correct the file, or write a new one
    a token of two lines: its token holds no token; correct the file, or write a new one
    a certificate alone: its user has a client certificate without the key, or the key without the certificate; correct the file, or write a new one
    a key alone: its user has a client certificate without the key, or the key without the certificate; correct the file, or write a new one
    a certificate that is missing: its client-certificate /etc/missing.pem can't be read: No such file or directory (os error 2); correct the file, or write a new one
    a key that is none: its client-key holds no private key in PEM form; correct the file, or write a new one
    a key of no base64: its client-key-data holds no base64; correct the file, or write a new one
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_in_a_kubeconfig_makes_a_panic(texts in any::<[String; 7]>(), place in 0..4) {
        let [server, name, token, user, password, group, key] = texts;
        // An invalid value hides those that are checked after it.
        let server = if place == 0 { server } else { "https://192.0.2.10".to_owned() };
        let name = if place == 1 { name } else { "kubernetes".to_owned() };
        let token = if place == 2 { token } else { TOKEN.to_owned() };
        let cluster = json!({"server": server, "tls-server-name": name, "insecure-skip-tls-verify": true});
        let user = json!({
            "token": token, "username": user, "password": password, "as": user, "as-groups": [group],
            "as-user-extra": {key: [group]},
        });
        let folder = folder();
        let _ = ApiServer::open(&written(&folder, &one_cluster(cluster, user)), Deadline::after(LONG));
    }
}
