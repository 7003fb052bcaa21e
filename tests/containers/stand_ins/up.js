// CouchDB's `/_up`, which pouchdb-server does not have; and an end that was asked for is no failure.
process.on("SIGTERM", () => process.exit(0));
const http = require("http");
const emit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, request, response) {
  if (event === "request" && request.url === "/_up") {
    response.setHeader("Content-Type", "application/json");
    response.end('{"status": "ok"}\n');
    return true;
  }
  return emit.apply(this, arguments);
};
