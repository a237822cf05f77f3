// Hears a command as it runs, ends it in the middle, and hears a detached one over whatever happens to the connection.
import { Cabana } from "cabana";

const cabana = new Cabana();
await using box = await cabana.create();
for await (const event of box.exec("for i in 1 2 3; do echo step $i; done; sleep 60", { stream: true })) {
  if (event.type === "stdout") console.log(event.text.trim());
  if (event.type === "stdout" && event.text.includes("3")) break; // ends the command, and what it started
}
const build = await box.exec("echo building; echo done", { detach: true, name: "build" });
const { stdout, exitCode } = await build.result();
console.log(exitCode, stdout.trim());
