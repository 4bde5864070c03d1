#include "nodes/dead_letter_routes.hpp"

#include "core/hex.hpp"
#include "core/time_text.hpp"
#include "nodes/command_support.hpp"
#include "nodes/row_key.hpp"
#include "storage/store.hpp"
#include "telemetry/log.hpp"
#include "web/routes.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;
using web::http_request;
using web::http_response;

constexpr std::string_view list_path = "/dead-letters";
constexpr std::string_view replay_path = "/dead-letters/replay";
constexpr std::size_t limit_default = 100;
constexpr std::size_t limit_max = 10'000; // over HTTP: an answer stays within some megabytes
constexpr std::size_t page_letters = 200; // one transaction of a replay; their payloads are in memory together
// The server answers nobody else meanwhile, /healthz neither.
constexpr std::chrono::milliseconds lock_wait_max{1'000};
constexpr std::chrono::milliseconds connect_wait_max{2'000};
constexpr std::chrono::milliseconds statement_wait_max{5'000};

http_response answer(unsigned status, const ordered_json& body) {
  return {.status = status,
          .content_type = "application/json",
          .body = body.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n",
          .headers = {}};
}

http_response bad_request(const std::string& what) { return web::json_error(400, what); }

/// 503; the code tells a lock, which may be gone the next time, from the rest.
http_response unavailable(const error& why) {
  return answer(503, {{"error", why.message}, {"code", name_of(why.code)}});
}

http_response database_failed(const std::string& database, const error& why) {
  return unavailable({why.code, "database " + database + ": " + why.to_string()});
}

/// A pipeline asked for, with a connection to its database.
struct open_pipeline {
  const config::ingest* pipeline;
  std::unique_ptr<storage::store> store;
};

struct opened {
  std::vector<open_pipeline> pipelines;
  std::optional<http_response> refused;
};

/// All pipelines where `name` is empty.
opened open_pipelines(const config::configuration& configuration, const std::string& name, storage::access access) {
  opened made;
  if (!name.empty() && !configuration.ingest.contains(name)) {
    made.refused = bad_request("there is no ingest pipeline '" + name + "'");
    return made;
  }
  for (const auto& [known, pipeline] : configuration.ingest) {
    if (!name.empty() && known != name)
      continue;
    auto database = configuration.databases.at(pipeline.database);
    database.busy_timeout = std::min(database.busy_timeout, lock_wait_max);
    database.connect_timeout = std::min(database.connect_timeout, connect_wait_max);
    database.statement_timeout = std::min(database.statement_timeout, statement_wait_max);
    const auto& file = database.address.path;
    if (!file.empty() && !std::filesystem::exists(file)) { // opening it for writing would make it
      made.refused = unavailable(
        {errc::database_unavailable, "there is no " + file.string() + ": pipeline " + known + " has not run yet"});
      return made;
    }
    auto store = storage::open(database, access, pipeline.dead_letters);
    if (!store) {
      made.refused = database_failed(database.name, store.error());
      return made;
    }
    made.pipelines.push_back({&pipeline, *std::move(store)});
  }
  return made;
}

ordered_json as_json(const storage::dead_letter& letter) {
  return {{"id", letter.id},
          {"pipeline", letter.pipeline},
          {"topic", printable(letter.topic) ? letter.topic : to_hex(letter.topic)},
          {"code", name_of(letter.code)},
          {"reason", printable(letter.reason) ? letter.reason : to_hex(letter.reason)},
          {"first_seen", format_rfc3339(letter.first_seen)},
          {"last_seen", format_rfc3339(letter.last_seen)},
          {"seen", letter.seen},
          {"attempts", letter.attempts},
          {"payload_bytes", letter.payload_bytes}};
}

std::string query_of(const http_request& request, const std::string& name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? std::string{} : found->second;
}

http_response list(const config::configuration& configuration, const http_request& request) {
  std::size_t limit = limit_default;
  if (const auto text = query_of(request, "limit"); !text.empty()) {
    const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (failed != std::errc{} || at != text.data() + text.size())
      return bad_request("limit is a number; 0: all");
  }
  const auto open = open_pipelines(configuration, query_of(request, "pipeline"), storage::access::read_only);
  if (open.refused)
    return *open.refused;
  ordered_json listed = ordered_json::array();
  std::uint64_t total = 0;
  for (const auto& [pipeline, store] : open.pipelines) {
    const auto count = store->dead_letter_count(pipeline->name);
    if (!count)
      return database_failed(pipeline->database, count.error());
    total += *count;
    const auto letters =
      store->dead_letters({.pipeline = pipeline->name, .id = {}, .limit = limit, .after = {}, .payloads = false});
    if (!letters)
      return database_failed(pipeline->database, letters.error());
    for (const auto& letter : *letters)
      listed.push_back(as_json(letter));
  }
  return answer(200, {{"dead_letters", std::move(listed)}, {"total", total}});
}

struct found_letter {
  const open_pipeline* at = nullptr;
  storage::dead_letter letter;
  std::optional<http_response> refused;
};

/// The one letter whose id begins with `id`.
found_letter find_letter(const std::vector<open_pipeline>& pipelines, const std::string& id) {
  found_letter found;
  for (const auto& at : pipelines) {
    auto letters = at.store->dead_letters({.pipeline = at.pipeline->name, .id = id, .limit = 2});
    if (!letters) {
      found.refused = database_failed(at.pipeline->database, letters.error());
      return found;
    }
    for (auto& letter : *letters) {
      if (found.at != nullptr) {
        const bool same = found.letter.id == letter.id;
        found.refused = web::json_error(409, "more than one dead letter begins with " + id + ": give more of the id" +
                                               (same ? ", or the pipeline" : ""));
        return found;
      }
      found.at = &at;
      found.letter = std::move(letter);
    }
  }
  if (found.at == nullptr)
    found.refused = web::json_error(404, "there is no dead letter " + id);
  return found;
}

http_response show(const config::configuration& configuration, const http_request& request) {
  const auto open = open_pipelines(configuration, query_of(request, "pipeline"), storage::access::read_only);
  if (open.refused)
    return *open.refused;
  const auto found = find_letter(open.pipelines, request.path.substr(list_path.size() + 1));
  if (found.refused)
    return *found.refused;
  auto json = as_json(found.letter);
  const auto& payload = found.letter.payload;
  if (printable(payload))
    json["payload"] = payload;
  else
    json["payload_hex"] = to_hex(payload);
  return answer(200, json);
}

/// What POST /dead-letters/replay asks for.
struct replay_request {
  std::string id;
  bool all = false;
  std::string pipeline;
  std::optional<std::string> payload;
  std::string after; ///< "pipeline/id" of the last letter of the page before
};

/// What is wrong with it; nothing: `request` is filled.
std::optional<std::string> parse(const std::string& body, replay_request& request) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object())
    return R"(the body is no JSON object; it is {"id": "..."} or {"all": true})";
  for (const auto& [name, value] : json.items()) {
    if (name == "all" ? !value.is_boolean() : !value.is_string())
      return name + (name == "all" ? " is true or false" : " is a string");
    if (name == "id")
      request.id = value.get<std::string>();
    else if (name == "all")
      request.all = value.get<bool>();
    else if (name == "pipeline")
      request.pipeline = value.get<std::string>();
    else if (name == "payload")
      request.payload = value.get<std::string>();
    else if (name == "payload_hex")
      request.payload = from_hex(value.get<std::string>());
    else if (name == "after")
      request.after = value.get<std::string>();
    else
      return "there is no key " + name;
    if (name == "payload_hex" && !request.payload)
      return "payload_hex is no hex";
  }
  if (request.all == !request.id.empty())
    return "either id or all";
  if (request.all && request.payload)
    return "a repaired payload is for one id";
  if (json.contains("payload") && json.contains("payload_hex"))
    return "either payload or payload_hex";
  return std::nullopt;
}

struct replay_outcome {
  std::uint64_t replayed = 0;
  ordered_json failed = ordered_json::array();
};

/// One transaction.
result<void> replay_letters(const open_pipeline& at, const std::vector<storage::dead_letter>& letters,
                            const std::optional<std::string>& payload, replay_outcome& outcome) {
  if (auto prepared = at.store->prepare(storage::table_of(*at.pipeline)); !prepared)
    return prepared;
  single_decoder decoder{*at.pipeline};
  std::vector<std::unique_ptr<record::frame_view>> messages;
  std::vector<storage::retried_letter> retried;
  for (const auto& letter : letters) {
    messages.push_back(decoder.decode(letter.topic, payload ? *payload : letter.payload, letter.first_seen));
    retried.push_back({letter.id, messages.back().get()});
  }
  const auto replayed = at.store->replay(retried);
  if (!replayed)
    return replayed.error();
  for (std::size_t index = 0; index < letters.size(); ++index) {
    if (const auto& stays = (*replayed)[index])
      outcome.failed.push_back({{"id", letters[index].id}, {"code", name_of(stays->code)}, {"reason", stays->message}});
    else
      ++outcome.replayed;
  }
  return {};
}

http_response answer_replay(replay_outcome outcome, const std::optional<std::string>& next) {
  ordered_json json{{"replayed", outcome.replayed}, {"failed", std::move(outcome.failed)}, {"next", nullptr}};
  if (next)
    json["next"] = *next;
  return answer(200, json);
}

/// The first page with anything on it. Pages are in the order of pipelines and ids, since failed letters stay.
http_response replay_page(const std::vector<open_pipeline>& pipelines, const std::string& after) {
  const auto slash = after.rfind('/');
  const auto name_after = after.substr(0, slash == std::string::npos ? 0 : slash);
  replay_outcome outcome;
  for (const auto& at : pipelines) {
    const auto& name = at.pipeline->name;
    if (name < name_after)
      continue;
    const auto letters =
      at.store->dead_letters({.pipeline = name,
                              .id = {},
                              .limit = page_letters,
                              .after = name == name_after ? after.substr(slash + 1) : std::string{}});
    if (!letters)
      return database_failed(at.pipeline->database, letters.error());
    if (letters->empty())
      continue;
    if (const auto done = replay_letters(at, *letters, std::nullopt, outcome); !done)
      return database_failed(at.pipeline->database, done.error());
    return answer_replay(std::move(outcome), name + "/" + letters->back().id);
  }
  return answer_replay(std::move(outcome), std::nullopt);
}

http_response replay(const config::configuration& configuration, const http_request& request) {
  replay_request wanted;
  if (const auto wrong = parse(request.body, wanted))
    return bad_request(*wrong);
  const auto open = open_pipelines(configuration, wanted.pipeline, storage::access::read_write);
  if (open.refused)
    return *open.refused;
  if (wanted.all)
    return replay_page(open.pipelines, wanted.after);
  const auto found = find_letter(open.pipelines, wanted.id);
  if (found.refused)
    return *found.refused;
  replay_outcome outcome;
  if (const auto done = replay_letters(*found.at, {found.letter}, wanted.payload, outcome); !done)
    return database_failed(found.at->pipeline->database, done.error());
  return answer_replay(std::move(outcome), std::nullopt);
}

/// So that one question does not take a node's memory.
http_request bounded(http_request request) {
  auto& limit = request.query["limit"];
  std::size_t number = limit_default;
  std::from_chars(limit.data(), limit.data() + limit.size(), number);
  if (number == 0 || number > limit_max)
    limit = std::to_string(limit_max);
  return request;
}

} // namespace

http_response answer_dead_letters(const config::configuration& configuration, const http_request& request) {
  if (request.method == "POST" && request.path == replay_path)
    return replay(configuration, request);
  if (request.path == list_path)
    return list(configuration, request);
  return show(configuration, request);
}

void add_dead_letter_routes(web::http_server& server,
                            const std::function<std::shared_ptr<const config::configuration>()>& configuration) {
  server.route("GET", std::string{list_path},
               [configuration](const http_request& request) { return list(*configuration(), bounded(request)); });
  server.route_prefix("GET", std::string{list_path} + "/", [configuration](const http_request& request) {
    return answer_dead_letters(*configuration(), request);
  });
  server.route("POST", std::string{replay_path}, [&server, configuration](const http_request& request) {
    const auto now = configuration();
    if (auto refused = web::refuse_administration(request, server.address(), now->node.admin))
      return *std::move(refused);
    auto answered = replay(*now, request);
    if (answered.status == 200)
      log::info("http", "", "dead letters are replayed on request");
    return answered;
  });
}

} // namespace penstock::nodes
