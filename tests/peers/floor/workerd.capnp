# The configuration of the platform's floor, for scripts/serve. It has what the product's has: the
# date (the benchmark checks it) and objects with SQLite.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "state", disk = (path = "state", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [(name = "floor.js", esModule = embed "floor.js")],
  durableObjectNamespaces = [
    (className = "First", uniqueKey = "floor-First", enableSql = true),
    (className = "Second", uniqueKey = "floor-Second", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "state"),
  bindings = [
    (name = "FIRST", durableObjectNamespace = "First"),
    (name = "SECOND", durableObjectNamespace = "Second"),
  ],
);
