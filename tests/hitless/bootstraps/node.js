#!/usr/bin/env node
// Lambda's Runtime API for handlers in JavaScript. `_HANDLER` is file.function: `index.handler` of index.mjs.
const http = require("node:http");

const { _HANDLER, AWS_LAMBDA_RUNTIME_API, AWS_LAMBDA_FUNCTION_NAME, LAMBDA_TASK_ROOT } = process.env;
const [host, port] = AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host, port, method, agent, headers, path: `/2018-06-01/runtime/${path}` };
    const request = http.request(options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, text: Buffer.concat(parts).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

function fail(path, error) {
  const said = { errorType: error.name, errorMessage: error.message, stackTrace: (error.stack ?? "").split("\n") };
  return call("POST", path, JSON.stringify(said), { "Lambda-Runtime-Function-Error-Type": said.errorType });
}

async function serve(handler) {
  const { headers, text } = await call("GET", "invocation/next");
  const id = headers["lambda-runtime-aws-request-id"];
  const context = {
    awsRequestId: id,
    functionName: AWS_LAMBDA_FUNCTION_NAME,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    getRemainingTimeInMillis: () => Number(headers["lambda-runtime-deadline-ms"]) - Date.now(),
  };
  try {
    const value = await handler(JSON.parse(text), context);
    await call("POST", `invocation/${id}/response`, JSON.stringify(value ?? null));
  } catch (error) {
    await fail(`invocation/${id}/error`, error);
  }
}

async function main() {
  const [file, name] = _HANDLER.split(".");
  let handler;
  try {
    handler = (await import(`${LAMBDA_TASK_ROOT}/${file}.mjs`))[name];
    if (typeof handler !== "function") throw new Error(`${file}.mjs exports no function ${name}`);
  } catch (error) {
    await fail("init/error", error);
    process.exit(1);
  }
  for (;;) await serve(handler);
}

main();
