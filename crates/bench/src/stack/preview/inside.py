"""Prints the median duration of as many small requests as the argument says, and that of a large one, in seconds."""
import http.client
import statistics
import sys
import time


def get(path, buffer=memoryview(bytearray(1 << 20))):
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", 3000)
    connection.request("GET", path)
    response = connection.getresponse()
    while response.readinto(buffer):
        pass
    return time.perf_counter() - started


get("/")
print(statistics.median(get("/") for _ in range(int(sys.argv[1]))), get("/large"))
