#include "nodes/dead_letters.hpp"

#include "core/hex.hpp"
#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/dead_letter_routes.hpp"
#include "nodes/exit_codes.hpp"
#include "web/http_client.hpp"
#include "web/http_text.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t id_shown = 12; // characters in a table; enough to name a letter by
// Each waits for the lock by itself. A writer under full load lets go of it only for moments.
constexpr int busy_tries_max = 30;
// A page of a replay may wait for its locks and then write.
constexpr std::chrono::seconds answer_timeout{30};

/// Who answers: a node, or the database by way of the configuration.
class respondent {
public:
  explicit respondent(const dead_letters_options& options) : options_(options) {}

  int open(std::ostream& err) {
    if (options_.url.empty())
      return load_or_report(options_.config, options_.node, configuration_, err) ? exit_done : exit_configuration;
    while (options_.url.ends_with('/'))
      options_.url.pop_back();
    return exit_done;
  }

  result<web::http_response> get(const std::string& path, std::map<std::string, std::string> query) const {
    if (options_.url.empty())
      return answer_dead_letters(configuration_, {"GET", path, std::move(query), {}, {}});
    std::string target;
    for (const auto& [name, value] : query)
      target += (target.empty() ? "?" : "&") + name + "=" + web::percent_encode(value);
    return web::http_get(options_.url + path + target, answer_timeout);
  }

  result<web::http_response> post(const std::string& path, const std::string& body) const {
    if (options_.url.empty())
      return answer_dead_letters(configuration_, {"POST", path, {}, {}, body});
    return web::http_post(options_.url + path, body, answer_timeout);
  }

private:
  dead_letters_options options_;
  config::configuration configuration_;
};

/// Exit code, or exit_done and `json` filled.
int read_answer(const result<web::http_response>& answer, ordered_json& json, std::ostream& err) {
  if (!answer) {
    err << answer.error().to_string() << '\n';
    return answer.error().code == errc::configuration || answer.error().code == errc::unsupported ? exit_usage
                                                                                                  : exit_unavailable;
  }
  json = ordered_json::parse(answer->body, nullptr, false);
  if (answer->status == 200 && json.is_object())
    return exit_done;
  if (json.is_object() && json.contains("error") && json["error"].is_string())
    err << json["error"].get<std::string>() << '\n';
  else
    err << "answered " << answer->status << " and no JSON that penstock knows\n";
  switch (answer->status) {
  case 404:
  case 409: return exit_verdict_bad;
  case 400:
  case 403: return exit_configuration;
  default: return exit_unavailable;
  }
}

std::map<std::string, std::string> of_pipeline(const dead_letters_options& options) {
  if (options.pipeline.empty())
    return {};
  return {{"pipeline", options.pipeline}};
}

bool busy(const result<web::http_response>& answer) {
  if (!answer || answer->status != 503)
    return false;
  const auto json = nlohmann::json::parse(answer->body, nullptr, false);
  return json.is_object() && json.value("code", "") == name_of(errc::database_busy);
}

result<web::http_response> replay_once_free(const respondent& asked, const std::string& body) {
  auto answer = asked.post("/dead-letters/replay", body);
  for (int tries = 1; tries < busy_tries_max && busy(answer); ++tries)
    answer = asked.post("/dead-letters/replay", body);
  return answer;
}

std::optional<std::string> read_file(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  if (!in)
    return std::nullopt;
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

void print_row(std::ostream& out, const ordered_json& letter) {
  const auto text = [&](const char* name) { return letter.at(name).get<std::string>(); };
  char counts[48];
  std::snprintf(counts, sizeof counts, "%6llu %8llu  ", letter.at("seen").get<unsigned long long>(),
                letter.at("attempts").get<unsigned long long>());
  out << text("id").substr(0, id_shown) << "  " << text("last_seen").substr(0, 19) << "Z " << counts << text("pipeline")
      << "  " << text("topic") << "  " << text("code") << ": " << text("reason") << '\n';
}

void print_list(std::ostream& out, const ordered_json& json) {
  const auto& letters = json.at("dead_letters");
  if (!letters.empty())
    out << "id            last seen               seen attempts  pipeline  topic  reason\n";
  for (const auto& letter : letters)
    print_row(out, letter);
  const auto total = json.at("total").get<std::uint64_t>();
  out << with_commas(total) << (total == 1 ? " dead letter" : " dead letters")
      << (letters.size() < total ? ", " + with_commas(letters.size()) + " shown (--limit)" : "") << '\n';
}

void print_letter(std::ostream& out, const ordered_json& json) {
  for (const auto& [name, value] : json.items())
    if (!name.starts_with("payload"))
      out << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
  const bool text = json.contains("payload");
  out << "payload (" << json.at("payload_bytes").dump() << " bytes" << (text ? "" : ", as hex") << "):\n"
      << json.at(text ? "payload" : "payload_hex").get<std::string>() << '\n';
}

void print_failed(std::ostream& out, const ordered_json& failed) {
  for (const auto& letter : failed)
    out << letter.at("id").get<std::string>().substr(0, id_shown) << " stays: " << letter.at("code").get<std::string>()
        << ": " << letter.at("reason").get<std::string>() << '\n';
}

/// Prints what was answered; a peer that is no penstock may have left out anything.
template <class Print>
int print_answer(std::ostream& err, const Print& print) {
  try {
    print();
    return exit_done;
  } catch (const nlohmann::json::exception&) {
    err << "the answer is not that of a penstock\n";
    return exit_unavailable;
  }
}

/// The body of the request, or an exit code.
int replay_body(const dead_letters_options& options, const replay_options& what, nlohmann::json& body,
                std::ostream& err) {
  if (what.all == !what.id.empty() || (what.all && !what.payload.empty())) {
    err << "dead-letters replay takes either an id (with --payload FILE, perhaps) or --all\n";
    return exit_usage;
  }
  body = what.all ? nlohmann::json{{"all", true}} : nlohmann::json{{"id", what.id}};
  if (!options.pipeline.empty())
    body["pipeline"] = options.pipeline;
  if (what.payload.empty())
    return exit_done;
  const auto payload = read_file(what.payload);
  if (!payload) {
    err << "cannot read " << what.payload.string() << '\n';
    return exit_usage;
  }
  if (printable(*payload))
    body["payload"] = *payload;
  else
    body["payload_hex"] = to_hex(*payload);
  return exit_done;
}

} // namespace

int dead_letters_list(const dead_letters_options& options, std::size_t limit, std::ostream& out, std::ostream& err) {
  respondent asked{options};
  if (const int code = asked.open(err); code != exit_done)
    return code;
  auto query = of_pipeline(options);
  query["limit"] = std::to_string(limit);
  ordered_json json;
  if (const int code = read_answer(asked.get("/dead-letters", std::move(query)), json, err); code != exit_done)
    return code;
  return print_answer(err, [&] {
    if (options.json)
      out << json.dump(2) << '\n';
    else
      print_list(out, json);
  });
}

int dead_letters_show(const dead_letters_options& options, const std::string& id, std::ostream& out,
                      std::ostream& err) {
  respondent asked{options};
  if (const int code = asked.open(err); code != exit_done)
    return code;
  ordered_json json;
  const auto path = "/dead-letters/" + (options.url.empty() ? id : web::percent_encode(id));
  if (const int code = read_answer(asked.get(path, of_pipeline(options)), json, err); code != exit_done)
    return code;
  return print_answer(err, [&] {
    if (options.json)
      out << json.dump(2) << '\n';
    else
      print_letter(out, json);
  });
}

int dead_letters_replay(const dead_letters_options& options, const replay_options& what, std::ostream& out,
                        std::ostream& err) {
  nlohmann::json body;
  if (const int code = replay_body(options, what, body, err); code != exit_done)
    return code;
  respondent asked{options};
  if (const int code = asked.open(err); code != exit_done)
    return code;
  std::uint64_t replayed = 0;
  ordered_json failed = ordered_json::array();
  int ended = exit_done;
  for (bool more = true; more && ended == exit_done;) {
    ordered_json page;
    if (ended = read_answer(replay_once_free(asked, body.dump()), page, err); ended != exit_done)
      break;
    ended = print_answer(err, [&] {
      replayed += page.at("replayed").get<std::uint64_t>();
      if (!options.json)
        print_failed(out, page.at("failed"));
      for (const auto& letter : page.at("failed"))
        failed.push_back(letter);
      more = page.at("next").is_string();
      if (more)
        body["after"] = page.at("next");
    });
  }
  // Also where it ended half way: the pages before are committed.
  if (ended == exit_done || replayed > 0 || !failed.empty()) {
    if (options.json)
      out << ordered_json{{"replayed", replayed}, {"failed", failed}}.dump(2) << '\n';
    else
      out << with_commas(replayed) << " replayed, " << with_commas(failed.size()) << " failed again\n";
  }
  if (ended != exit_done)
    return ended;
  return failed.empty() ? exit_done : exit_verdict_bad;
}

} // namespace penstock::nodes
