"""Drives a sandbox by paramiko over `cabana ssh-proxy`, at the service that the environment names."""

import io
import json
import os
import shlex
import tempfile
import time
import urllib.request

import paramiko

NAME = f"paramiko-{os.getpid()}"
SANDBOX = f"/v1/sandboxes/sbx-{NAME}"
URL, KEY = os.environ["CABANA_TEST_URL"], os.environ["CABANA_TEST_API_KEY"]
BYTES = os.urandom(1 << 20) * 8

UPPER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
peer, _ = server.accept()
peer.sendall(b"".join(iter(lambda: peer.recv(65536), b"")).upper())
peer.close()
"""


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method), timeout=120) as answer:
        return answer.read()


def connect():
    proxy = paramiko.ProxyCommand(f"{shlex.quote(os.environ['CABANA_TEST_CLI'])} ssh-proxy sbx-{NAME}")
    transport = paramiko.Transport(proxy)
    transport.start_client(timeout=120)
    transport.auth_none("cabana")
    return transport


def run(transport, command, stdin=b"", terminal=None):
    channel = transport.open_session(timeout=120)
    channel.settimeout(120)
    if terminal:
        channel.get_pty("xterm", *terminal)
    channel.exec_command(command)
    if not terminal:
        channel.sendall(stdin)
        channel.shutdown_write()
    stdout = b"".join(iter(lambda: channel.recv(1 << 16), b""))
    stderr = b"".join(iter(lambda: channel.recv_stderr(1 << 16), b""))
    status = channel.recv_exit_status()
    channel.close()
    return status, stdout, stderr


def commands(transport):
    for code in (0, 1, 7, 127, 255):
        assert run(transport, f"printf out; printf err >&2; exit {code}") == (code, b"out", b"err"), code
    status, stdout, _ = run(transport, "cat", BYTES)
    assert status == 0 and stdout == BYTES, (status, len(stdout))
    status, stdout, _ = run(transport, "stty size; exit 3", terminal=(91, 33))
    assert (status, stdout) == (3, b"33 91\r\n"), stdout


def files(transport):
    root = run(transport, "pwd")[1].decode().strip()
    sftp = paramiko.SFTPClient.from_transport(transport)
    sftp.get_channel().settimeout(120)
    assert sftp.normalize(".") == root
    sftp.chdir(root)
    assert sftp.putfo(io.BytesIO(BYTES), "large", confirm=True).st_size == len(BYTES)
    back = io.BytesIO()
    assert sftp.getfo("large", back) == len(BYTES) and back.getvalue() == BYTES
    sftp.mkdir("d")
    for name in ("a b", "é🌊", "'\"$x"):
        with sftp.open(f"d/{name}", "w") as file:
            file.write(name)
    assert sorted(sftp.listdir("d")) == sorted(["a b", "é🌊", "'\"$x"])
    with sftp.open("d/a b", "a") as file:
        file.write(" and more")
    with sftp.open("d/a b") as file:
        assert file.read() == b"a b and more"
    sftp.chmod("d/a b", 0o640)
    sftp.utime("d/a b", (1_000_000_000, 1_100_000_000))
    sftp.truncate("d/a b", 3)
    shown = sftp.stat("d/a b")
    assert (shown.st_mode & 0o777, shown.st_size) == (0o640, 3), shown
    sftp.posix_rename("d/a b", "d/é🌊")
    try:
        sftp.rename("d/é🌊", "large")
        raise AssertionError("a rename onto a file must fail")
    except OSError:
        pass
    sftp.symlink("large", "link")
    assert sftp.readlink("link") == "large" and sftp.lstat("link").st_size == 5
    for name in sftp.listdir("d"):
        sftp.remove(f"d/{name}")
    sftp.rmdir("d")
    for missing in (lambda: sftp.stat("d"), lambda: sftp.open("d"), lambda: sftp.listdir("d"), lambda: sftp.remove("d")):
        try:
            missing()
            raise AssertionError("it is gone")
        except FileNotFoundError:
            pass
    sftp.close()


def ports(transport):
    server = transport.open_session(timeout=120)
    server.settimeout(120)
    server.exec_command(f"exec python3 -c {shlex.quote(UPPER)}")
    port = int(server.makefile().readline())
    channel = transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=120)
    channel.settimeout(120)
    channel.sendall(b"hello")
    channel.shutdown_write()
    assert channel.recv(100) == b"HELLO" and channel.recv(100) == b""
    channel.close()
    port = transport.request_port_forward("127.0.0.1", 0)
    asking = transport.open_session(timeout=120)
    asking.settimeout(120)
    code = f"import socket; s = socket.create_connection(('localhost', {port})); s.sendall(b'from inside'); print(s.recv(100))"
    asking.exec_command(f"exec python3 -c {shlex.quote(code)}")
    forwarded = transport.accept(120)
    forwarded.settimeout(120)
    assert forwarded.recv(100) == b"from inside"
    forwarded.sendall(b"from outside")
    forwarded.close()
    assert asking.makefile().read() == b"b'from outside'\n"
    transport.cancel_port_forward("127.0.0.1", port)
    assert run(transport, f"curl -s localhost:{port}")[0] == 7


def main():
    call("POST", "/v1/sandboxes", {"name": NAME})
    try:
        with tempfile.TemporaryDirectory() as home:
            os.environ.update(HOME=home, CABANA_URL=URL, CABANA_API_KEY=KEY)
            transport = connect()
            for part in (commands, files, ports):
                part(transport)
                print(part.__name__, "passed", flush=True)
            transport.close()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                left = json.loads(call("POST", f"{SANDBOX}/exec", {"command": ["pgrep", "-f", "agent (sftp-server|listen)"]}))
                if left["exit"]["code"] == 1:
                    return
                time.sleep(0.2)
            raise AssertionError(f"still there after the connection: {left}")
    finally:
        call("DELETE", SANDBOX)


main()
