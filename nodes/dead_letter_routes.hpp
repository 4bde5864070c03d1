// Dead letters over HTTP. The command without a node asks the same function, so that both give the same answers.
//
//   GET  /dead-letters?pipeline=&limit=      {"dead_letters": [...], "total": N}
//   GET  /dead-letters/{id}?pipeline=        one, with its payload; the beginning of an id is enough
//   POST /dead-letters/replay                {"id": ... | "all": true, "pipeline", "payload" | "payload_hex", "after"}
//                                            -> {"replayed": N, "failed": [...], "next": after | null}
//
// docs/dead-letters.md has the keys. Errors are {"error": text}: 400 a question that cannot be answered, 403
// administration is off, 404 no such letter, 409 several, 503 the database failed (with "code": the error's name).
#pragma once

#include "config/config.hpp"
#include "web/http.hpp"
#include "web/http_server.hpp"

#include <functional>
#include <memory>

namespace penstock::nodes {

/// Opens the database for the one question. Waits for a lock a second at most, twice at most. A replay of all does one
/// page of letters; "next" goes into the next call's "after".
web::http_response answer_dead_letters(const config::configuration& configuration, const web::http_request& request);

/// `server` outlives the serving; `configuration` gives the one that holds when a question comes, on the server's
/// thread. Replay is refused unless `node.admin` is on, as the routes below /admin are.
void add_dead_letter_routes(web::http_server& server,
                            const std::function<std::shared_ptr<const config::configuration>()>& configuration);

} // namespace penstock::nodes
