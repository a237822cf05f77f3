# Answers like an agent of another version. Arguments: the protocol of its health, and the answer to every operation.
import hashlib, hmac, http.server, json, os, signal, sys, urllib.parse

PROTOCOL, ANSWER = int(sys.argv[1]), sys.argv[2]
SECRET = os.environ["CABANA_AGENT_SECRET"].encode()
HEALTH = {
    "status": "ok",
    "version": "0.0.0-test",
    "protocol": PROTOCOL,
    "incarnation": "other",
    "unknown_field": True,
}


class Agent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        challenge = query.get("challenge", [""])[0]
        proof = hmac.new(SECRET, f"cabana-health:{challenge}".encode(), hashlib.sha256).hexdigest()
        self.answer(json.dumps(HEALTH | {"proof": proof}))

    def do_POST(self):
        # Whatever of the body is not read goes with the connection.
        self.close_connection = True
        self.answer(ANSWER)


# The first process of a container ends by a signal only if it handles it.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("0.0.0.0", 49983), Agent).serve_forever()
