"""Starts a server, waits until it answers, asks it, and hears a command as it runs."""

from cabana import Sandbox

with Sandbox.create(labels={"example": "background"}) as box:
    box.files.write("site/index.html", "<h1>It works</h1>")
    server = box.spawn("exec python3 -u -m http.server 3000", name="web", cwd="site")
    server.wait(port=3000, http="/", timeout=60)
    print(box.ports.request(3000).text)
    for event in box.stream("for i in 1 2 3; do echo step $i; done"):
        if event.type == "stdout":
            print(event.text, end="")
    result = box.exec("exit 3")
    print(result.exit_code)
