//! Containers of the image that are started in a way of the case's own.

use cabana_tests::run_in_image;

/// Prepares what the platform does for a container under network rules: an authority, a name that is answered with 204, and a server
/// whose certificate the authority has signed. Then starts the agent as the user `$1`, and has a command ask that server.
const UNDER_RULES: &str = r#"set -eu
certificates=/etc/cloudflare/certs
mkdir -p $certificates && cd $certificates
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -days 2 -keyout key -out cloudflare-containers-ca.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=intercepted.test -keyout server.key -out request
printf 'subjectAltName=DNS:intercepted.test' > names
openssl x509 -req -in request -CA cloudflare-containers-ca.crt -CAkey key -CAcreateserial -days 2 -extfile names -out server.crt
cat > /tmp/servers.py <<'END'
import http.server, ssl, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
def serve(port, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.crt", "server.key")
threading.Thread(target=serve, args=(443, context)).start()
serve(80)
END
python3 /tmp/servers.py 2> /dev/null &
become=
[ "$1" = root ] || become="setpriv --reuid $1 --regid $1 --init-groups env HOME=/home/$1"
cd /workspace
CABANA_AGENT_SECRET=secret CABANA_NETWORK_RULES=true $become /usr/local/bin/cabana-agent -- &
agent=$!
until curl --silent --fail --output /dev/null http://127.0.0.1:49983/health; do kill -0 $agent; sleep 0.05; done
cat > /tmp/check <<'END'
id -un
curl --silent --show-error --write-out 'curl %{http_code}\n' https://intercepted.test/
python3 -c 'import urllib.request as r; print("python", r.urlopen("https://intercepted.test/").status)'
stat --format '%U %a' "$SSL_CERT_FILE"
grep -c 'BEGIN CERTIFICATE' "$SSL_CERT_FILE" | sed 's/^[0-9][0-9][0-9]*$/many/'
END
curl --silent --fail -H 'Authorization: Bearer secret' --data '{"command": ". /tmp/check"}' http://127.0.0.1:49983/v1/exec"#;

#[test]
fn network_rules_are_prepared_by_an_agent_of_any_user() {
    let hosts = ["--add-host", "canary.cabana.internal:127.0.0.1", "--add-host", "intercepted.test:127.0.0.1"];
    let options = [&hosts[..], &["--network", "none"]].concat();
    for (agent, owner) in [("root", "root"), ("sandbox", "sandbox")] {
        let answer = run_in_image(&options, UNDER_RULES, &[agent]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{agent}: {answer}"));
        let expected = format!("sandbox\ncurl 204\npython 204\n{owner} 644\nmany\n");
        assert_eq!((answer["stdout"].as_str(), answer["stderr"].as_str()), (Some(expected.as_str()), Some("")), "{agent}");
    }
}
