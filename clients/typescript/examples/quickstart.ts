import { Cabana } from "cabana";

const cabana = new Cabana({ url: process.env["CABANA_URL"]!, key: process.env["CABANA_API_KEY"]! });
await using box = await cabana.create();
await box.files.write("hello.py", "print('hello from a sandbox')");
const { stdout, exitCode } = await box.exec("python3 hello.py");
console.log(exitCode, stdout);
