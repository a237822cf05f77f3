# Answers with one piece at once, and with the last when the file `go` is there.
import http.server
import os
import time


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"piece\n")
        self.wfile.flush()
        while not os.path.exists("go"):
            time.sleep(0.02)
        self.wfile.write(b"last piece\n")


http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Slow).serve_forever()
