"""Cabana as a client of a Jupyter kernel: a context's cells and questions as the messages of Jupyter's protocol."""

import datetime
import json
import queue
import uuid

import httpx

STREAMS = ("stdout", "stderr")


class Channel(queue.Queue):
    def get_msg(self, timeout=None):
        return self.get(timeout=timeout)


class CabanaKernelClient:
    def __init__(self, url, key, language):
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=None) as http:
            self._sandbox = http.post("/v1/sandboxes", json={}).raise_for_status().json()["id"]
        self.http = httpx.Client(base_url=f"{url}/v1/sandboxes/{self._sandbox}", headers=headers, timeout=None)
        self._context = self._ask("code/create", language=language)["context"]
        self._session = uuid.uuid4().hex
        self.shell_channel, self.iopub_channel = Channel(), Channel()
        self.get_shell_msg = self.shell_channel.get_msg

    def stop_channels(self):
        self.http.delete("").raise_for_status()
        self.http.close()

    def _ask(self, route, **request):
        return self.http.post(f"/{route}", json=request).raise_for_status().json()

    def _message(self, kind, content, parent):
        ids = {"msg_id": uuid.uuid4().hex, "msg_type": kind}
        date = datetime.datetime.now(datetime.timezone.utc)
        header = {**ids, "session": self._session, "username": "", "date": date, "version": "5.3"}
        return {**ids, "header": header, "parent_header": {"msg_id": parent}, "metadata": {}, "content": content}

    def _reply(self, kind, content):
        parent = uuid.uuid4().hex
        self.shell_channel.put(self._message(kind, {"status": "ok", **content}, parent))
        return parent

    def _notebook(self):
        return self._ask("code/export", context=self._context)["notebook"]

    def execute(self, code, silent=False, store_history=True, stop_on_error=True):
        assert (silent, store_history, stop_on_error) == (False, True, True)
        parent, failure = uuid.uuid4().hex, {}

        def publish(kind, **content):
            self.iopub_channel.put(self._message(kind, content, parent))

        headers, request = {"Accept": "application/x-ndjson"}, {"context": self._context, "code": code}
        with self.http.stream("POST", "/code/run", headers=headers, json=request) as answer:
            for line in filter(None, map(str.strip, answer.iter_lines())):
                match json.loads(line):
                    case {"type": "started"}:
                        publish("status", execution_state="busy")
                    case {"type": "executing", "execution_count": count}:
                        publish("execute_input", code=code, execution_count=count)
                    case {"type": name, "text": text} if name in STREAMS:
                        publish("stream", name=name, text=text)
                    case {"type": "value", "data": data, **rest}:
                        publish("execute_result", data=data, metadata=rest.get("metadata", {}), execution_count=count)
                    case {"type": "display", "data": data, **rest}:
                        publish("display_data", data=data, metadata=rest.get("metadata", {}))
                    case {"type": "clear", "wait": wait}:
                        publish("clear_output", wait=wait)
                    case {"type": "failed", "name": name, "value": value, "traceback": traceback}:
                        failure = {"ename": name, "evalue": value, "traceback": traceback}
                        publish("error", **failure)
                    case {"type": "result", "status": status, "execution_count": count, "state_kept": True}:
                        publish("status", execution_state="idle")
                        content = {"status": status, "execution_count": count, **failure}
                    case other:
                        raise AssertionError(other)
        if status == "ok":
            content |= {"payload": [], "user_expressions": {}}
        self.shell_channel.put(self._message("execute_reply", content, parent))
        return parent

    def kernel_info(self):
        about = {"protocol_version": "5.3", "implementation": "", "implementation_version": "", "banner": ""}
        return self._reply("kernel_info_reply", {**about, "language_info": self._notebook()["metadata"]["language_info"]})

    def complete(self, code):
        found = self._ask("code/complete", context=self._context, code=code)
        return self._reply("complete_reply", {"matches": found.pop("items"), "metadata": {}, **found})

    def inspect(self, code):
        found = self._ask("code/inspect", context=self._context, code=code)
        return self._reply("inspect_reply", {"metadata": {}, **found})

    def history(self, output, raw, hist_access_type, n):
        assert raw and hist_access_type == "tail"
        cells = self._notebook()["cells"][-n:]
        text = ["".join(made.get("data", {}).get("text/plain", "") for made in cell["outputs"]) or None for cell in cells]
        entries = [(cell["source"], shown) if output else cell["source"] for cell, shown in zip(cells, text)]
        return self._reply("history_reply", {"history": [(1, cell["execution_count"], entry) for cell, entry in zip(cells, entries)]})
