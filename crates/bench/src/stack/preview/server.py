"""Serves two bytes, and at /large as many as the argument says."""
import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Like other servers, it does not delay the body until the head is acknowledged: on a kept connection that takes 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self):
        size = int(sys.argv[1]) if self.path == "/large" else 2
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        piece = memoryview(bytes(1 << 20))
        while size:
            size -= self.wfile.write(piece[: min(size, len(piece))])

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("0.0.0.0", 3000), Handler).serve_forever()
