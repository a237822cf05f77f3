# Prints the port where it listens. Answers 503 until there is a file `go`, and 200 then; to /mute never.
import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/mute":
            self.rfile.read()
        self.send_response(200 if os.path.exists("go") else 503)
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("listening on", server.server_port, flush=True)
server.serve_forever()
