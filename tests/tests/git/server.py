"""A git server over HTTP: hands what is asked of it to git's own CGI program. Prints its port. Told where its files are, and at will its
address and port.

/<repository>            anybody may read and write it
/private/<repository>    for ada with her password, and for a token
/elsewhere/<repository>  leads to /private/<repository> under another name of this host
/stall/<anything>        never answers
/trickle/<repository>    answers, but stops in the midst of what is fetched
"""

import base64
import http.server
import os
import subprocess
import sys
import threading

ROOT = sys.argv[1]
LOGINS = ["ada:password-of-ada", "x-access-token:token-of-ada"]
ALLOWED = ["Basic " + base64.b64encode(login.encode()).decode() for login in LOGINS]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def answer(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/stall/"):
            threading.Event().wait()
        self.stops = path.startswith("/trickle/")
        path = path.removeprefix("/trickle")
        if path.startswith("/elsewhere/"):
            self.send_response(302)
            port = self.server.server_address[1]
            self.send_header("Location", f"http://localhost:{port}/private/{self.path.removeprefix('/elsewhere/')}")
            self.end_headers()
            return
        if path.startswith("/private/"):
            path = path.removeprefix("/private")
            if self.headers.get("Authorization") not in ALLOWED:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
        self.hand_over(path, query)

    def hand_over(self, path, query):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        variables = {
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_USER": "somebody",
            "REQUEST_METHOD": self.command,
        }
        run = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env={**os.environ, **variables})
        head, _, content = run.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(fields.pop("Status", "200 OK").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.stops and b"PACK" in content:
            self.wfile.write(content[: len(content) // 2])
            threading.Event().wait()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


ADDRESS = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else ("127.0.0.1", 0)
server = http.server.ThreadingHTTPServer(ADDRESS, Handler)
print(f"port {server.server_address[1]}", flush=True)
server.serve_forever()
