//! Reads claims, and reports their addresses in one PATCH.

use super::*;
use crate::ipam::claim::Claim;
use crate::ipam::lease::Assigned;

fn document() -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim",
        "metadata": {
            "namespace": "shop", "name": "vm1.data", "uid": "o-1", "resourceVersion": "7", "generation": 2,
            "finalizers": ["kubevirt.io/persistent-ipam"],
        },
        "spec": { "network": "db-net", "interface": "" },
        "status": {
            "ips": ["10.1.0.7/24"], "ownerPod": { "name": "virt-launcher-vm1-x" },
            "conditions": [{ "type": "IPsAllocated", "status": "True" }],
        },
    })
}

/// A server's response if the claim does not exist.
fn not_found() -> Value {
    json!({
        "kind": "Status", "reason": "NotFound", "message": "ipamclaims.k8s.cni.cncf.io \"vm1.data\" not found",
        "details": { "name": "vm1.data", "group": "k8s.cni.cncf.io", "kind": "ipamclaims" },
    })
}

/// Sends a request to a server with this scenario. Returns the result and the requests.
fn of_claim<T>(scenario: Scenario, question: impl Fn(&ApiServer) -> T) -> (T, String, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let url = server.url();
    let api = ApiServer::open(&written(&folder, &of_token(&url)), Deadline::after(LONG)).unwrap();
    let response = question(&api);
    drop(api);
    (response, url, server.requests().unwrap())
}

fn read(scenario: Scenario) -> Result<Claim, String> {
    let (response, url, _) = of_claim(scenario, |api| api.claim("shop", "vm1.data"));
    response.map_err(|error| shown(error, &url, &folder()))
}

fn claim() -> Claim {
    read(responds(200, &document())).unwrap()
}

/// Patches a claim's status with an address.
fn tell(scenario: Scenario) -> (Result<(), String>, Vec<String>) {
    let given = [Assigned { address: "10.1.0.8/24".parse().unwrap(), gateway: None }];
    let patch = claim().patch(&given, "db-0", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let (response, url, requests) = of_claim(scenario, |api| api.patch_status(&claim(), &patch, Deadline::after(LONG)));
    (response.map_err(|error| shown(error, &url, &folder())), requests)
}

#[test]
fn a_claim_is_read_by_one_request_and_from_no_cache() {
    let (response, _, requests) = of_claim(responds(200, &document()), |api| api.claim("shop", "vm1.data"));
    let claim = response.unwrap();
    assert_eq!(claim.to_string(), "IPAMClaim shop/vm1.data");
    assert_eq!((claim.uid.as_str(), claim.version.as_str(), claim.generation), ("o-1", "7", Some(2)));
    assert_eq!((claim.network.as_str(), claim.interface.as_str()), ("db-net", ""));
    assert_eq!(claim.status.ips, Some(vec!["10.1.0.7/24".to_owned()]));
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let line = request.lines().next().unwrap();
    assert_eq!(line, "GET /apis/k8s.cni.cncf.io/v1alpha1/namespaces/shop/ipamclaims/vm1.data HTTP/1.1");
}

#[test]
fn a_claim_that_nobody_has_served_yet_has_nothing() {
    for status in [json!(null), json!({}), json!({ "ips": null }), json!({ "ips": [] })] {
        let mut document = document();
        document["status"] = status;
        let claim = read(responds(200, &document)).unwrap();
        assert!(claim.status.ips.iter().flatten().next().is_none());
    }
    let mut document = document();
    document.as_object_mut().unwrap().remove("status");
    document.as_object_mut().unwrap().remove("spec");
    assert_eq!(read(responds(200, &document)).unwrap().status.ips, None);
}

#[test]
fn what_is_no_claim_has_an_error_that_says_what_to_do() {
    let mut other = document();
    other["kind"] = json!("Pod");
    let forbidden = "ipamclaims.k8s.cni.cncf.io \"vm1.data\" is forbidden: User \"node\" cannot get resource";
    let scenarios = [
        responds(404, &not_found()),
        // A server's response to an unknown path.
        Scenario::Answers(404, b"404 page not found\n".to_vec()),
        refuses(403, "Forbidden", forbidden),
        responds(200, &other),
    ];
    let told: Vec<String> = scenarios.into_iter().map(|scenario| read(scenario).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    api_not_found 11 the API server http://api knows no IPAMClaim shop/vm1.data; the pod names it by ipam-claim-reference in k8s.v1.cni.cncf.io/networks; the pod starts once the claim is there, which has to be in the pod's namespace
    api_strange 11 the answer of http://api about IPAMClaim shop/vm1.data can't be used: it has status 404: no reason given; is the CustomResourceDefinition ipamclaims.k8s.cni.cncf.io installed, with its version v1alpha1?
    api_forbidden 11 the API server http://api does not allow user node to get IPAMClaim shop/vm1.data; grant it the rule apiGroups ["k8s.cni.cncf.io"], resources ["ipamclaims"], verbs ["get"]; the server says: ipamclaims.k8s.cni.cncf.io "vm1.data" is forbidden: User "node" cannot get resource
    api_strange 11 the answer of http://api about IPAMClaim shop/vm1.data can't be used: it is of kind "Pod", not IPAMClaim; is the CustomResourceDefinition ipamclaims.k8s.cni.cncf.io installed, with its version v1alpha1?
    "#);
    let mut garbled = document();
    garbled["status"]["ips"] = json!("10.1.0.7/24");
    let told = read(responds(200, &garbled)).unwrap_err();
    assert!(told.contains("about IPAMClaim shop/vm1.data can't be used: it is not what was asked for"), "{told}");
}

#[test]
fn a_claim_is_told_by_one_patch_of_its_status_and_of_this_state_of_it() {
    let (response, requests) = tell(responds(200, &document()));
    assert_eq!(response, Ok(()));
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(
        line,
        "PATCH /apis/k8s.cni.cncf.io/v1alpha1/namespaces/shop/ipamclaims/vm1.data/status?&fieldManager=kube-ipam \
         HTTP/1.1"
    );
    assert!(headers.to_lowercase().contains("content-type: application/merge-patch+json"), "{headers}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["metadata"]["resourceVersion"], &body["status"]["ips"]), (&json!("7"), &json!(["10.1.0.8/24"])));
    assert_eq!(body.as_object().unwrap().len(), 2);
}

#[test]
fn a_patch_that_is_not_taken_is_not_sent_again_and_says_why() {
    let forbidden = "ipamclaims.k8s.cni.cncf.io \"vm1.data\" is forbidden: User \"node\" cannot patch resource";
    let scenarios = [
        refuses(403, "Forbidden", forbidden),
        responds(404, &not_found()),
        refuses(409, "Conflict", "the object has been modified"),
        refuses(422, "Invalid", "status.ips: Invalid value"),
        refuses(500, "InternalError", "etcdserver: no leader"),
        Scenario::Closes,
    ];
    let told = scenarios.into_iter().map(|scenario| {
        let (response, requests) = tell(scenario);
        assert_eq!(requests.len(), 1);
        response.unwrap_err()
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r#"
    api_forbidden 11 the API server http://api does not allow user node to patch the status of IPAMClaim shop/vm1.data; grant it the rule apiGroups ["k8s.cni.cncf.io"], resources ["ipamclaims/status"], verbs ["patch"]; the server says: ipamclaims.k8s.cni.cncf.io "vm1.data" is forbidden: User "node" cannot patch resource
    api_not_found 11 the API server http://api knows no IPAMClaim shop/vm1.data; the pod names it by ipam-claim-reference in k8s.v1.cni.cncf.io/networks; the pod starts once the claim is there, which has to be in the pod's namespace
    api_changed 11 the API server http://api reports that the status of IPAMClaim shop/vm1.data was changed in the meantime: the object has been modified; the next attempt reads it again
    api_strange 11 the answer of http://api about the status of IPAMClaim shop/vm1.data can't be used: it has status 422: status.ips: Invalid value; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    api_failing 11 the API server http://api failed with status 500: etcdserver: no leader; look at the API server and its etcd
    api_unreachable 11 the API server http://api can't be reached: connection closed before message completed; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    "#);
}
