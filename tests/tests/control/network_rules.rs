//! Network rules, where the stack runs on this machine. Names below `invalid` resolve nowhere (RFC 6761): a request that the rules let pass is
//! answered with 502, and one that they do not with 403.

use cabana_tests::require;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    create, fresh_name,
    https_server::{Asked, HttpsServer},
    lifecycle::Named,
    local_engine::LocalEngine,
};

/// A sandbox with these rules that runs; `None` where the stack runs elsewhere.
async fn start_with_rules(case: &str, network: Value) -> Option<Named> {
    let sandbox = Named::new(case, json!({ "network": network })).await;
    if LocalEngine::find(&sandbox).await.is_some() {
        return Some(sandbox);
    }
    sandbox.end().await;
    None
}

/// The statuses that curl reports for these requests, each a line of its arguments; 0 where there is no answer.
async fn statuses(sandbox: &Named, requests: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for request in requests {
        let (status, answer) = sandbox.run(&format!("curl -sS -m 60 -o /dev/null -w '%{{http_code}}' {request}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        statuses.push(answer["stdout"].as_str().unwrap().parse().unwrap_or_else(|_| panic!("{request}: {answer}")));
    }
    statuses
}

#[tokio::test]
async fn requests_are_judged_by_host_method_and_path() {
    let rules = json!({
        "allow": ["whole.invalid", "*.below.invalid", "GET,HEAD part.invalid/repos/acme/*"],
        "deny": ["no.below.invalid", "whole.invalid/admin*"],
    });
    let Some(sandbox) = start_with_rules("rules", rules).await else { return };
    for (request, expected) in [
        ("http://whole.invalid/", 502),
        ("https://whole.invalid/x", 502),
        ("-X DELETE https://whole.invalid/x", 502),
        ("https://whole.invalid/admin/x", 403),
        ("https://whole.invalid/x/../admin", 403),
        ("https://WHOLE.invalid./", 502),
        ("https://a.b.below.invalid/", 502),
        ("https://below.invalid/", 403),
        ("https://no.below.invalid/", 403),
        ("https://part.invalid/repos/acme/x?y=z", 502),
        ("-X POST https://part.invalid/repos/acme/x", 403),
        ("https://part.invalid/repos/other", 403),
        ("--path-as-is https://part.invalid/repos/acme/../other", 403),
        ("--path-as-is https://part.invalid/repos/acme/%2e%2e/other", 403),
        ("https://part.invalid/repos/acme/..%2fother", 403),
        ("https://other.invalid/", 403),
        ("http://other.invalid/", 403),
    ] {
        assert_eq!(statuses(&sandbox, &[request]).await, [expected], "{request}");
    }
    let (_, answer) = sandbox.run("curl -sSi https://whole.invalid/admin/x?secret").await;
    let said = answer["stdout"].as_str().unwrap();
    assert!(said.contains("cabana-network-rule: whole.invalid/admin*"), "{said}");
    assert!(said.contains("do not allow GET whole.invalid/admin/x (rule: whole.invalid/admin*)"), "{said}");
    sandbox.end().await;
}

/// Ways around the rules that others have found in products like this one.
#[tokio::test]
async fn nothing_else_leaves_a_sandbox_with_rules() {
    let Some(sandbox) = start_with_rules("rules-out", json!({ "allow": ["allowed.invalid"] })).await else { return };
    // A name that is not allowed in the place where it counts, and one that is in every other.
    for request in [
        "-H 'Host: denied.invalid' http://allowed.invalid/",
        "-H 'Host: denied.invalid' https://allowed.invalid/",
        "--connect-to allowed.invalid:443:denied.invalid:443 -H 'Host: denied.invalid' https://allowed.invalid/",
        "--request-target http://denied.invalid/ http://allowed.invalid/",
        "-H 'X-Forwarded-Host: allowed.invalid' -H 'X-Hostname: allowed.invalid' http://denied.invalid/",
        "-x http://allowed.invalid:80 http://denied.invalid/",
        "-x http://allowed.invalid:80 https://denied.invalid/",
        "-k https://192.0.2.1/",
        "http://192.0.2.1/",
        "http://192.0.2.1:8080/",
        "http://3221225985/",
        "http://0xc0000201/",
        "http://allowed.invalid@denied.invalid/",
        "http://denied.invalid#allowed.invalid",
        "http://allowed.invalid.denied.invalid/",
        "http://1.1.1.1/dns-query",
        "https://cloudflare-dns.com/dns-query",
        "http://169.254.169.254/latest/meta-data/",
        "http://allowed.invalid:8080/",
        "https://allowed.invalid:8443/",
        "ftp://allowed.invalid/",
        "telnet://1.1.1.1:23",
        "ldap://1.1.1.1/",
        "http://canary.cabana.internal.denied.invalid/",
        "--resolve denied.invalid:443:192.0.2.9 https://denied.invalid/",
        "--connect-to denied.invalid:443:allowed.invalid:443 https://denied.invalid/",
        "-x socks5h://allowed.invalid:443 http://denied.invalid/",
        "-p -x http://allowed.invalid:80 telnet://1.1.1.1:23",
        "http://allowed.invalid:443/",
        "https://allowed.invalid:80/",
        "-H 'Host: allowed.invalid:8080' http://allowed.invalid/",
        "-H 'Host: allowed.invalid@denied.invalid' http://allowed.invalid/",
        "-H 'Host: denied.invalid/allowed.invalid' http://allowed.invalid/",
        "http://[::ffff:192.0.2.1]/",
        "http://192.0.2.1.nip.io/",
        "sftp://allowed.invalid/",
        "smtp://allowed.invalid/",
        "tftp://1.1.1.1/x",
        "gopher://denied.invalid/",
    ] {
        let status = statuses(&sandbox, &[request]).await[0];
        assert!(!(200..300).contains(&status) && status != 502, "{request}: {status}");
    }
    for (what, program) in [
        (
            "a connection to a server of the internet",
            "s = socket.create_connection(('1.1.1.1', 22), 20)\ns.settimeout(20)\nassert s.recv(1)",
        ),
        (
            "a datagram",
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(20)\ns.connect(('1.1.1.1', 123))\ns.send(b'x')\nassert s.recv(1)",
        ),
        (
            "QUIC",
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(20)\ns.connect(('1.1.1.1', 443))\ns.send(b'\\xc0' + bytes(1199))\nassert s.recv(1)",
        ),
        (
            "TLS without a name",
            "import ssl\ns = socket.create_connection(('1.1.1.1', 443), 20)\nc = ssl.create_default_context()\nc.check_hostname = False\nc.verify_mode = ssl.CERT_NONE\nassert c.wrap_socket(s).version()",
        ),
        (
            // A name as the data, and a text as the answer: what tunnels through DNS do.
            "a query for a text",
            "q = bytes([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + b'\\x04data\\x04pypi\\x03org\\x00' + bytes([0, 16, 0, 1])\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(20)\ns.sendto(q, ('1.1.1.1', 53))\na = s.recv(512)\nassert a[3] & 15 == 0 and a[7] > 0",
        ),
        ("a name", "assert socket.gethostbyname_ex('pypi.org')[2] != ['11.0.0.1']"),
        (
            "a raw packet to elsewhere",
            "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)\ns.settimeout(20)\ns.sendto(bytes([8, 0, 247, 255, 0, 0, 0, 0]), ('1.1.1.1', 0))\nassert s.recv(1)",
        ),
        ("IPv6", "s = socket.create_connection(('2606:4700:4700::1111', 853), 20)\ns.settimeout(20)\nassert s.recv(1)"),
    ] {
        let (_, answer) = sandbox.run(&format!("timeout 60 python3 -c \"import socket\n{program}\"")).await;
        let code = answer["exit"]["code"].as_u64();
        assert!(code.is_some_and(|code| code != 0 && code != 124), "{what}: {answer}");
    }
    assert_eq!(statuses(&sandbox, &["https://allowed.invalid/"]).await, [502], "what is allowed still passes");
    sandbox.end().await;
}

#[tokio::test]
async fn rules_are_replaced_while_the_sandbox_runs() {
    let Some(sandbox) = start_with_rules("rules-patch", json!({ "allow": ["one.invalid"] })).await else { return };
    let requests = ["https://one.invalid/", "https://two.invalid/"];
    assert_eq!(statuses(&sandbox, &requests).await, [502, 403]);
    let shown = sandbox.change(json!({ "network": { "allow": ["two.invalid"] } })).await;
    assert_eq!(shown["network"], json!({ "allow": ["two.invalid"] }));
    cabana_tests::until("the new rules hold", async || statuses(&sandbox, &requests).await == [403, 502]).await;
    // The sandbox is the same one, and a start keeps the rules.
    assert_eq!(sandbox.show().await["starts"], 1);
    let (status, answer) = sandbox.call(Method::POST, "/restart", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(statuses(&sandbox, &requests).await, [403, 502]);
    sandbox.end().await;
}

#[tokio::test]
async fn a_sandbox_without_internet_reaches_nothing() {
    let Some(sandbox) = start_with_rules("rules-none", json!({ "internet": false })).await else { return };
    assert_eq!(statuses(&sandbox, &["http://one.invalid/", "http://192.0.2.1/", "https://pypi.org/"]).await, [0, 0, 0]);
    sandbox.end().await;
}

#[tokio::test]
async fn a_websocket_is_judged_as_a_request_and_passes_both_ways() {
    let empty = async |_: Asked| (200, Vec::new(), Vec::new());
    let Some(server) = HttpsServer::start(empty).await else { return };
    let rules = json!({ "allow": [server.name], "deny": [format!("{}/denied*", server.name)] });
    let Some(sandbox) = start_with_rules("rules-socket", rules).await else { return };
    let client = include_str!("echo_websocket.py");
    for (host, path, expected) in
        [(server.name.as_str(), "/socket", "101 same"), (&server.name, "/denied/socket", "403"), ("other.invalid", "/", "403")]
    {
        let (status, answer) =
            sandbox.call(Method::POST, "/exec", Some(json!({ "command": ["python3", "-c", client, host, path] }))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["stdout"].as_str().unwrap().trim(), expected, "{host}{path}: {answer}");
    }
    assert_eq!(server.asked().iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), ["/socket"]);
    sandbox.end().await;
}

#[tokio::test]
async fn rules_name_ports_groups_and_nothing() {
    let rules =
        json!({ "allow": ["@pair", "port.invalid:8080", "both.invalid", "both.invalid:8081"], "deny": ["POST all:8081"] });
    let Some(sandbox) = start_with_rules("rules-ports", rules).await else { return };
    for (request, expected) in [
        ("https://one.invalid/", 502),
        ("http://two.invalid/", 502),
        ("-X POST http://two.invalid/", 403),
        ("http://port.invalid:8080/", 502),
        ("https://port.invalid:8080/", 502),
        ("http://port.invalid/", 403),
        ("https://both.invalid/", 502),
        ("http://both.invalid:8081/", 502),
        ("-X POST http://both.invalid:8081/", 403),
        ("http://both.invalid:8080/", 403),
        ("-H 'Host: one.invalid:8080' http://one.invalid/", 403),
        // Nobody has named this one, so that nothing answers.
        ("http://port.invalid:8082/", 0),
    ] {
        assert_eq!(statuses(&sandbox, &[request]).await, [expected], "{request}");
    }
    sandbox.change(json!({ "network": { "allow": ["none"] } })).await;
    cabana_tests::until("nothing is reached", async || statuses(&sandbox, &["https://one.invalid/"]).await == [403]).await;
    // A port is opened while the sandbox runs.
    sandbox.change(json!({ "network": { "allow": ["late.invalid:8090"] } })).await;
    cabana_tests::until("the port is open", async || statuses(&sandbox, &["http://late.invalid:8090/"]).await == [502]).await;
    sandbox.end().await;
}

#[tokio::test]
async fn what_is_denied_is_shown_counted_and_in_the_audit() {
    let rules = json!({ "allow": ["allowed.invalid"], "deny": ["POST denied.invalid/a*"] });
    let Some(sandbox) = start_with_rules("rules-report", rules.clone()).await else { return };
    let requests = "for n in 1 2 3; do curl -sS -o /dev/null -d 12345 'https://denied.invalid/abc?token=hunter2'; done; \
        curl -sS -o /dev/null https://allowed.invalid/ https://other.invalid/x";
    sandbox.run(requests).await;
    let report = async || {
        let (status, report) = sandbox.call(Method::GET, "/network", None).await;
        assert_eq!(status, StatusCode::OK, "{report}");
        report
    };
    cabana_tests::until("all of it is reported", async || {
        let counters = report().await["counters"].clone();
        counters == json!({ "allowed": 1, "with_secrets": 0, "denied": 4 })
    })
    .await;
    let shown = report().await;
    assert_eq!(
        (&shown["rules"], &shown["internet"], &shown["enforced"]),
        (&json!({ "sandbox": rules }), &json!(true), &json!(true))
    );
    let denials = shown["denials"].as_array().unwrap();
    let of = |host: &str, field: &str| -> Vec<Value> {
        denials.iter().filter(|denial| denial["host"] == host).map(|denial| denial[field].clone()).collect()
    };
    let sum = |values: Vec<Value>| values.iter().map(|value| value.as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum(of("denied.invalid", "count")), sum(of("denied.invalid", "bytes"))), (3, 15), "{shown}");
    assert!(of("denied.invalid", "rule").iter().all(|rule| rule == "POST denied.invalid/a*"), "{shown}");
    assert_eq!(
        (of("denied.invalid", "path")[0].clone(), of("other.invalid", "rule")),
        (json!("/abc"), vec![json!("none of network.allow")])
    );
    let (_, audit) = sandbox.call(Method::GET, "/audit?operation=network.request", None).await;
    let entries = audit["items"].as_array().unwrap();
    let summaries: Vec<_> = entries.iter().map(|entry| entry["agent_summary"].as_str().unwrap()).collect();
    assert!(
        summaries
            .iter()
            .any(|said| said.contains("\"POST denied.invalid/a*\"") && said.contains("POST https://denied.invalid/abc")),
        "{audit}"
    );
    assert!(entries.iter().all(|entry| entry["outcome"] == "forbidden" && entry["principal"] == "sandbox"), "{audit}");
    assert!(!(shown.to_string() + &audit.to_string()).contains("hunter2"), "a query is nowhere");
    assert_eq!(sandbox.call(Method::POST, "/network", Some(json!({}))).await.0, StatusCode::METHOD_NOT_ALLOWED);
    sandbox.end().await;
}

#[tokio::test]
async fn a_sandbox_reaches_no_more_than_its_kind_allows() {
    let fields = json!({ "kind": "fenced", "network": { "allow": ["all"] } });
    let sandbox = Named::new("rules-kind", fields).await;
    if LocalEngine::find(&sandbox).await.is_some() {
        let requests = ["https://kind.invalid/", "https://other.invalid/"];
        assert_eq!(statuses(&sandbox, &requests).await, [502, 403]);
        let (_, report) = sandbox.call(Method::GET, "/network", None).await;
        assert_eq!(report["rules"]["kind"], json!({ "allow": ["kind.invalid"] }), "{report}");
        // Without rules of its own those of the kind are left.
        sandbox.change(json!({ "network": null })).await;
        let (status, answer) = sandbox.call(Method::POST, "/restart", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(statuses(&sandbox, &requests).await, [502, 403]);
    }
    sandbox.end().await;
}

#[tokio::test]
async fn malformed_rules_are_refused_by_name() {
    for (network, part) in [
        (json!({ "allow": ["https://a.test"] }), "network rule \"https://a.test\""),
        (json!({ "allow": ["a.test:0"] }), "network rule \"a.test:0\": a port is a number"),
        (json!({ "allow": ["none", "a.test"] }), "network rule \"none\": it stands alone"),
        (
            json!({ "allow": ["a.test"], "deny": ["a.test"] }),
            "network rule \"a.test\": it is in network.allow and in network.deny",
        ),
        (json!({ "allow": ["a.test"], "deny": ["all"] }), "network rule \"all\": network.deny leaves nothing"),
        (json!({ "allow": ["@pairs"] }), "network rule \"@pairs\": there is no group \"pairs\": did you mean `@pair`?"),
        (json!({ "deny": ["a b c"] }), "network rule \"a b c\""),
        (json!({ "internet": false, "allow": ["a.test"] }), "`network.internet` is false"),
        (json!({ "allow": vec!["a.test"; 65] }), "`network.allow` takes at most 64 rules, got 65"),
        (json!({ "alow": [] }), "allow"),
    ] {
        let (status, answer) = create(json!({ "name": fresh_name("rules-bad"), "network": network })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{network}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{network}: {answer}");
    }
}

#[tokio::test]
async fn packages_install_from_the_registry_that_the_rules_allow() {
    let resolved = tokio::net::lookup_host(("pypi.org", 443)).await.ok().and_then(|mut addresses| addresses.next());
    if require("registries", resolved, "the name of a registry does not resolve").is_none() {
        return;
    }
    let rules = json!({ "allow": ["GET,HEAD pypi.org/simple/*", "GET,HEAD files.pythonhosted.org"] });
    let Some(sandbox) = start_with_rules("rules-pip", rules).await else { return };
    let install = "python3 -m venv v && v/bin/pip install -q --no-input --disable-pip-version-check markupsafe \
                   && v/bin/python -c 'import markupsafe._speedups; print(\"compiled\")'";
    let (_, answer) = sandbox.run(install).await;
    assert_eq!(answer["stdout"], "compiled\n", "{answer}");
    let others = ["https://registry.npmjs.org/is-odd", "https://pypi.org/pypi/six/json", "-X POST https://pypi.org/simple/six/"];
    assert_eq!(statuses(&sandbox, &others).await, [403, 403, 403]);
    sandbox.end().await;
}
