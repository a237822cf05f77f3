from cabana import Sandbox

with Sandbox.create() as box:  # CABANA_URL and CABANA_API_KEY name the service
    box.files.write("hello.py", "print('hello from a sandbox')")
    print(box.exec("python3 hello.py").stdout)
