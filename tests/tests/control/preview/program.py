"""A program to visit: it says what has reached it, byte for byte, and answers as it is told. `python3 program.py <port>`."""

import base64, gzip, hashlib, json, os, socket, struct, sys, threading

PAGE = b"0123456789" * 10


def serve(connection):
    stream = connection.makefile("rb")
    while answer_one(connection, stream):
        pass


def answer_one(connection, stream):
    """Answers one request; true if the connection stays open for the next."""
    line = stream.readline()
    if not line:
        return False
    headers = []
    while (field := stream.readline().strip()):
        name, value = field.decode("latin-1").split(":", 1)
        headers.append([name.lower(), value.strip()])
    method, target, _ = line.decode("latin-1").split(" ")
    send = connection.sendall
    path = target.split("?")[0]
    answer = ANSWERS.get(path.split("/")[1], echo)
    return answer(send, stream, method, target, headers)


def respond(send, status, headers, body=b"", method="GET"):
    head = [f"HTTP/1.1 {status} Told", "Connection: close", *headers]
    if body is not None and not any(header.lower().startswith("content-length") for header in headers):
        head.append(f"Content-Length: {len(body)}")
    send("\r\n".join([*head, "", ""]).encode("latin-1") + (b"" if method == "HEAD" or body is None else body))


def chunks(stream, headers):
    fields = dict(headers)
    if fields.get("transfer-encoding") == "chunked":
        while (size := int(stream.readline(), 16)) > 0:
            yield stream.read(size)
            stream.readline()
        stream.readline()
    else:
        left = int(fields.get("content-length", 0))
        while left and (piece := stream.read1(min(left, 1 << 16))):
            left -= len(piece)
            yield piece


def echo(send, stream, method, target, headers, media_type="application/json"):
    digest, size = hashlib.sha256(), 0
    for piece in chunks(stream, headers):
        digest.update(piece)
        size += len(piece)
    said = {"method": method, "target": target, "headers": headers, "size": size, "sha256": digest.hexdigest()}
    respond(send, 200, [f"Content-Type: {media_type}", "X-Program: yes"], json.dumps(said).encode(), method)


def seen(send, stream, method, target, headers):
    """The same as bytes, which nothing on the way compresses."""
    echo(send, stream, method, target, headers, "application/octet-stream")


def told(send, stream, method, target, headers):
    """`/told/<status>?<header>&<header>…`, percent-decoded: that status with those headers."""
    from urllib.parse import unquote

    path, _, query = target.partition("?")
    status = int(path.split("/")[2])
    fields = [unquote(field) for field in query.split("&") if field]
    respond(send, status, fields, None if status in (204, 304) else b"told\n", method)


def page(send, stream, method, target, headers):
    start, _, end = dict(headers).get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    part = PAGE[int(start) : int(end) + 1 if end else None]
    whole = "range" not in dict(headers)
    fields = ["ETag: \"page\"", "Accept-Ranges: bytes"]
    if not whole:
        fields.append(f"Content-Range: bytes {start}-{int(start) + len(part) - 1}/{len(PAGE)}")
    respond(send, 200 if whole else 206, fields, part, method)


def packed(send, stream, method, target, headers):
    """`/packed/<coding>/<media type>`: bytes that are said to be in this coding, and their digest."""
    _, _, coding, media_type = target.split("/", 3)
    body = gzip.compress(PAGE, mtime=0) if coding == "gzip" else bytes(range(256))
    digest = hashlib.sha256(body).hexdigest()
    respond(send, 200, [f"Content-Encoding: {coding}", f"Content-Type: {media_type}", f"X-Digest: {digest}"], body, method)


def back(send, stream, method, target, headers):
    """Each piece of the request's body goes back as soon as it comes."""
    send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in chunks(stream, headers):
        send(b"%x\r\n%s\r\n" % (len(piece), piece))
    send(b"0\r\n\r\n")


def forever(send, stream, method, target, headers):
    """Speaks until nobody listens, and then leaves a file that says so."""
    import time

    send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        while True:
            send(b"9\r\ndata: 1\n\n\r\n")
            time.sleep(0.02)
    except OSError:
        open("hung-up", "w").close()


def many(send, stream, method, target, headers):
    """As many bytes as asked."""
    size = int(target.split("/")[2])
    send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
    piece = bytes(1 << 16)
    while size:
        send(piece[: min(size, len(piece))])
        size -= min(size, len(piece))


def broken(send, stream, method, target, headers):
    """No answer at all."""


def odd(send, stream, method, target, headers):
    send(b"this is not HTTP\r\n\r\n")


def websocket(send, stream, method, target, headers):
    """Says what has reached it, then says everything back."""
    fields = dict(headers)
    key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    if "sec-websocket-protocol" in fields:
        head.append("Sec-WebSocket-Protocol: " + fields["sec-websocket-protocol"].split(",")[0].strip())
    send("\r\n".join([*head, "", ""]).encode())
    frame(send, 1, json.dumps({"target": target, "headers": headers}).encode())
    while (first := stream.read(2)):
        opcode, length = first[0] & 15, first[1] & 127
        if length == 126:
            (length,) = struct.unpack(">H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", stream.read(8))
        mask = stream.read(4)
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(stream.read(length)))
        frame(send, opcode, data)
        if opcode == 8:
            return


def frame(send, opcode, data):
    length = len(data)
    if length < 126:
        size = struct.pack("B", length)
    else:
        size = struct.pack(">BH", 126, length) if length < 1 << 16 else struct.pack(">BQ", 127, length)
    send(bytes([0x80 | opcode]) + size + data)


def kept(send, stream, method, target, headers):
    """`/kept/<kind>/<number>`: keeps the connection open, in one piece as Node does, and says the request's number and body back."""
    import time

    _, _, kind, number = target.split("/")
    body = b"".join(chunks(stream, headers))
    said = f"{method} {number} {hashlib.sha256(body).hexdigest()}\n".encode()
    fields = [f"X-Number: {number}", "ETag: \"kept\""]
    if kind == "late":
        time.sleep(0.03)
    if kind in ("none", "same"):
        status, said = {"none": 204, "same": 304}[kind], b""
    else:
        status = 307 if kind == "moved" else 200
        said = b"" if kind == "empty" else said
        if kind == "trailers":
            fields.append("Transfer-Encoding: chunked")
            said = b"%x\r\n%s\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n" % (len(said), said)
        else:
            fields.append(f"Content-Length: {len(said)}")
    head = "\r\n".join([f"HTTP/1.1 {status} Kept", *fields, "", ""]).encode()
    if kind == "slow":
        for byte in head + said:
            send(bytes([byte]))
            time.sleep(0.0002)
    else:
        send(head if method == "HEAD" else head + said)
    return True


ANSWERS = {
    "kept": kept, "told": told, "page": page, "packed": packed, "seen": seen, "back": back, "forever": forever, "many": many, "broken": broken, "odd": odd, "ws": websocket,
}


def guarded(connection):
    with connection:
        try:
            serve(connection)
        except OSError:
            pass


with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=128) as listener:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=guarded, args=[connection], daemon=True).start()
