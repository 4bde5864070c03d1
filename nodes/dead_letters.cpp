#include "nodes/dead_letters.hpp"

#include "core/time_text.hpp"
#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/row_key.hpp"
#include "storage/store.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <ostream>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t id_shown = 12; // characters in a table; enough to name a letter by

/// The pipelines asked for, each with a connection to its database.
struct open_pipeline {
  const config::ingest* pipeline;
  std::unique_ptr<storage::store> store;
};

/// Exit code, or exit_done and `opened` filled.
int open_pipelines(const dead_letters_options& options, storage::access access, config::configuration& configuration,
                   std::vector<open_pipeline>& opened, std::ostream& err) {
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  if (!options.pipeline.empty() && find_pipeline(configuration, options.pipeline, err) == nullptr)
    return exit_configuration;
  for (const auto& [name, pipeline] : configuration.ingest) {
    if (!options.pipeline.empty() && name != options.pipeline)
      continue;
    const auto& database = configuration.databases.at(pipeline.database);
    if (!std::filesystem::exists(database.path)) { // opening it for writing would make it
      err << "there is no " << database.path.string() << ": pipeline " << name << " has not run yet\n";
      return exit_unavailable;
    }
    auto store = storage::open(database, access);
    if (!store) {
      err << "database " << database.name << ": " << store.error().to_string() << '\n';
      return exit_unavailable;
    }
    opened.push_back({&pipeline, *std::move(store)});
  }
  return exit_done;
}

ordered_json as_json(const storage::dead_letter& letter) {
  return {{"id", letter.id},
          {"pipeline", letter.pipeline},
          {"topic", printable(letter.topic) ? letter.topic : hex(letter.topic)},
          {"code", name_of(letter.code)},
          {"reason", printable(letter.reason) ? letter.reason : hex(letter.reason)},
          {"first_seen", format_rfc3339(letter.first_seen)},
          {"last_seen", format_rfc3339(letter.last_seen)},
          {"seen", letter.seen},
          {"attempts", letter.attempts},
          {"payload_bytes", letter.payload.size()}};
}

int report(const error& failure, std::ostream& err) {
  err << failure.to_string() << '\n';
  return exit_unavailable;
}

struct found_letter {
  const open_pipeline* at = nullptr;
  storage::dead_letter letter;
};

/// The one letter whose id begins with `id`.
int find_letter(const std::vector<open_pipeline>& pipelines, const std::string& id, found_letter& found,
                std::ostream& err) {
  for (const auto& at : pipelines) {
    auto letters = at.store->dead_letters({at.pipeline->name, id, 2});
    if (!letters)
      return report(letters.error(), err);
    for (auto& letter : *letters) {
      if (found.at != nullptr) {
        err << "more than one dead letter begins with " << id << ": give more of the id"
            << (found.letter.id == letter.id ? ", or --pipeline" : "") << '\n';
        return exit_verdict_bad;
      }
      found = {&at, std::move(letter)};
    }
  }
  if (found.at == nullptr) {
    err << "there is no dead letter " << id << '\n';
    return exit_verdict_bad;
  }
  return exit_done;
}

/// One letter's way through the pipeline: decoded, stored, removed.
class replayer {
public:
  replayer(const open_pipeline& at) : at_(at), decoder_(*at.pipeline) {}

  result<void> prepare() { return at_.store->prepare(storage::table_of(*at_.pipeline)); }

  /// Why the letter stays; or that the database failed, in `database_failure`.
  result<void> replay(const storage::dead_letter& letter, std::string_view payload,
                      std::optional<error>& database_failure) {
    const auto failed_again = [&](const error& reason) -> result<void> {
      if (const auto counted = at_.store->dead_letter_attempted(letter.pipeline, letter.id); !counted)
        database_failure = counted.error();
      return reason;
    };
    const auto frame = decoder_.decode(letter.topic, payload, letter.first_seen);
    if (frame->rows() == 0) {
      const auto again = frame->letter(0);
      return failed_again({again.code, std::string{again.reason}});
    }
    const record::frame_view* const frames[] = {frame.get()};
    const auto written = at_.store->write(frames);
    if (!written) {
      database_failure = written.error();
      return written.error();
    }
    if (written->front().dead_lettered > 0)
      return failed_again({errc::row_refused, "the database refuses the row"});
    // Ended in between, the letter stays, and its next replay finds the row there.
    if (const auto deleted = at_.store->dead_letter_delete(letter.pipeline, letter.id); !deleted) {
      database_failure = deleted.error();
      return deleted.error();
    }
    return {};
  }

private:
  const open_pipeline& at_;
  single_decoder decoder_;
};

struct replay_outcome {
  std::uint64_t replayed = 0;
  ordered_json failed = ordered_json::array();
};

int replay_letters(const open_pipeline& at, const std::vector<storage::dead_letter>& letters,
                   const std::optional<std::string>& payload, bool json, replay_outcome& outcome, std::ostream& out,
                   std::ostream& err) {
  replayer replaying{at};
  if (const auto prepared = replaying.prepare(); !prepared)
    return report(prepared.error(), err);
  for (const auto& letter : letters) {
    std::optional<error> database_failure;
    const auto replayed = replaying.replay(letter, payload ? *payload : letter.payload, database_failure);
    if (database_failure)
      return report(*database_failure, err);
    if (replayed) {
      ++outcome.replayed;
      continue;
    }
    outcome.failed.push_back(
      {{"id", letter.id}, {"code", name_of(replayed.error().code)}, {"reason", replayed.error().message}});
    if (!json)
      out << letter.id.substr(0, id_shown) << " stays: " << replayed.error().to_string() << '\n';
  }
  return exit_done;
}

std::optional<std::string> read_file(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  if (!in)
    return std::nullopt;
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

void print_row(std::ostream& out, const storage::dead_letter& letter) {
  char counts[48];
  std::snprintf(counts, sizeof counts, "%6llu %8llu  ", static_cast<unsigned long long>(letter.seen),
                static_cast<unsigned long long>(letter.attempts));
  out << letter.id.substr(0, id_shown) << "  " << format_rfc3339(letter.last_seen).substr(0, 19) << "Z " << counts
      << letter.pipeline << "  " << (printable(letter.topic) ? letter.topic : hex(letter.topic)) << "  "
      << name_of(letter.code) << ": " << letter.reason << '\n';
}

} // namespace

int dead_letters_list(const dead_letters_options& options, std::size_t limit, std::ostream& out, std::ostream& err) {
  config::configuration configuration;
  std::vector<open_pipeline> pipelines;
  if (const int code = open_pipelines(options, storage::access::read_only, configuration, pipelines, err);
      code != exit_done)
    return code;
  ordered_json listed = ordered_json::array();
  std::uint64_t total = 0;
  std::uint64_t shown = 0;
  for (const auto& at : pipelines) {
    const auto count = at.store->dead_letter_count(at.pipeline->name);
    if (!count)
      return report(count.error(), err);
    total += *count;
    const auto letters = at.store->dead_letters({at.pipeline->name, std::nullopt, limit});
    if (!letters)
      return report(letters.error(), err);
    for (const auto& letter : *letters) {
      if (options.json) {
        listed.push_back(as_json(letter));
        continue;
      }
      if (shown++ == 0)
        out << "id            last seen               seen attempts  pipeline  topic  reason\n";
      print_row(out, letter);
    }
  }
  if (options.json)
    out << ordered_json{{"dead_letters", listed}, {"total", total}}.dump(2) << '\n';
  else
    out << with_commas(total) << (total == 1 ? " dead letter" : " dead letters")
        << (shown < total ? ", " + with_commas(shown) + " shown (--limit)" : "") << '\n';
  return exit_done;
}

int dead_letters_show(const dead_letters_options& options, const std::string& id, std::ostream& out,
                      std::ostream& err) {
  config::configuration configuration;
  std::vector<open_pipeline> pipelines;
  if (const int code = open_pipelines(options, storage::access::read_only, configuration, pipelines, err);
      code != exit_done)
    return code;
  found_letter found;
  if (const int code = find_letter(pipelines, id, found, err); code != exit_done)
    return code;
  const auto& letter = found.letter;
  const bool text = printable(letter.payload);
  auto json = as_json(letter);
  json[text ? "payload" : "payload_hex"] = text ? letter.payload : hex(letter.payload);
  if (options.json) {
    out << json.dump(2) << '\n';
    return exit_done;
  }
  for (const auto& [name, value] : json.items())
    if (!name.starts_with("payload"))
      out << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
  out << "payload (" << letter.payload.size() << " bytes" << (text ? "" : ", as hex") << "):\n"
      << (text ? letter.payload : hex(letter.payload)) << '\n';
  return exit_done;
}

int dead_letters_replay(const dead_letters_options& options, const replay_options& what, std::ostream& out,
                        std::ostream& err) {
  if (what.all == !what.id.empty() || (what.all && !what.payload.empty())) {
    err << "dead-letters replay takes either an id (with --payload FILE, perhaps) or --all\n";
    return exit_usage;
  }
  std::optional<std::string> payload;
  if (!what.payload.empty() && !(payload = read_file(what.payload))) {
    err << "cannot read " << what.payload.string() << '\n';
    return exit_usage;
  }
  config::configuration configuration;
  std::vector<open_pipeline> pipelines;
  if (const int code = open_pipelines(options, storage::access::read_write, configuration, pipelines, err);
      code != exit_done)
    return code;

  replay_outcome outcome;
  int code = exit_done;
  if (what.all) {
    for (const auto& at : pipelines) {
      const auto letters = at.store->dead_letters({at.pipeline->name, std::nullopt, 0});
      code =
        letters ? replay_letters(at, *letters, payload, options.json, outcome, out, err) : report(letters.error(), err);
      if (code != exit_done)
        return code;
    }
  } else {
    found_letter found;
    if (code = find_letter(pipelines, what.id, found, err); code != exit_done)
      return code;
    code = replay_letters(*found.at, {found.letter}, payload, options.json, outcome, out, err);
    if (code != exit_done)
      return code;
  }
  if (options.json)
    out << ordered_json{{"replayed", outcome.replayed}, {"failed", outcome.failed}}.dump(2) << '\n';
  else
    out << with_commas(outcome.replayed) << " replayed, " << with_commas(outcome.failed.size()) << " failed again\n";
  return outcome.failed.empty() ? exit_done : exit_verdict_bad;
}

} // namespace penstock::nodes
