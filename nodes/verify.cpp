#include "nodes/verify.hpp"

#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/fingerprint.hpp"
#include "nodes/ledger.hpp"
#include "nodes/row_key.hpp"
#include "nodes/verdict.hpp"

#include <algorithm>
#include <ostream>
#include <thread>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct expected {
  fingerprint key;
  std::uint32_t line = 0;
  std::uint32_t stored : 2 = 0; ///< 2: at least twice
  std::uint32_t malformed : 1 = 0;
  std::uint32_t acknowledged : 1 = 0;
  std::uint32_t unrouted : 1 = 0;
  std::uint32_t dead_lettered : 1 = 0;
};

struct verdict {
  std::uint64_t sent = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t stored = 0;
  std::uint64_t missing = 0;
  std::uint64_t repeated = 0;
  std::uint64_t unconfirmed_stored = 0;
  std::uint64_t unrouted = 0;
  std::uint64_t foreign = 0;
  std::uint64_t malformed = 0;
  std::uint64_t malformed_there = 0;
  std::uint64_t malformed_missing = 0;
  std::uint64_t refused = 0;
  std::uint64_t unexpected = 0;
  std::vector<offender> offenders;

  bool complete() const { return missing == 0 && malformed_missing == 0; }
  bool good() const { return complete() && repeated == 0; }
};

/// The ledger in memory, and how the database compares with it.
class comparison {
public:
  explicit comparison(const config::ingest& pipeline)
    : pipeline_(pipeline), table_(storage::table_of(pipeline)), decoder_(pipeline) {}

  result<ledger_header> read(const std::filesystem::path& file);
  result<verdict> hold_against(storage::store& database);
  const histogram& latencies() const { return latencies_; }

private:
  expected* find(const std::vector<std::string>& values);
  result<void> count_rows(storage::store& database, verdict& found);
  result<void> count_letters(storage::store& database, verdict& found);

  const config::ingest& pipeline_;
  storage::table table_;
  single_decoder decoder_;
  std::vector<expected> messages_; // sorted by key
  histogram latencies_;            // microseconds
};

result<ledger_header> comparison::read(const std::filesystem::path& file) {
  auto header = read_ledger(file, [&](std::size_t number, const ledger_line& line) {
    expected& message = messages_.emplace_back();
    message.key = fingerprint_of(line.values);
    message.line = static_cast<std::uint32_t>(number);
    message.malformed = line.malformed;
    message.acknowledged = line.acknowledged;
    message.unrouted = line.unrouted;
    if (line.visible_us != 0)
      latencies_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(line.visible_us - line.published_us, 0)));
    return true;
  });
  if (!header)
    return header;
  if (header->key != pipeline_.key)
    return error{errc::configuration, file.string() + ": its key columns are not those of pipeline " + pipeline_.name};
  std::sort(messages_.begin(), messages_.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  return header;
}

expected* comparison::find(const std::vector<std::string>& values) {
  const fingerprint key = fingerprint_of(values);
  const auto found =
    std::lower_bound(messages_.begin(), messages_.end(), key,
                     [](const expected& message, const fingerprint& wanted) { return message.key < wanted; });
  return found != messages_.end() && found->key == key ? &*found : nullptr;
}

result<void> comparison::count_rows(storage::store& database, verdict& found) {
  return database.for_each_key(table_, [&](const storage::key_text& key) {
    expected* message = find(key);
    if (message == nullptr || message->malformed) {
      ++found.foreign;
      return true;
    }
    if (message->stored == 0) {
      ++found.stored;
      found.unconfirmed_stored += message->acknowledged ? 0 : 1;
    } else if (message->stored == 1) {
      ++found.repeated;
      if (found.repeated <= offenders_max)
        found.offenders.push_back({"repeated", message->line, {}});
    }
    message->stored = std::min(message->stored + 1u, 2u);
    return true;
  });
}

result<void> comparison::count_letters(storage::store& database, verdict& found) {
  storage::dead_letter_filter filter;
  filter.pipeline = pipeline_.name;
  filter.limit = 0;
  const auto letters = database.dead_letters(filter);
  if (!letters)
    return letters.error();
  for (const auto& letter : *letters) {
    expected* message = find({letter.id});
    if (message == nullptr || !message->malformed) {
      // A good message that the database refused is known by the key it would have had.
      const auto key = decoder_.key(letter.topic, letter.payload, letter.first_seen);
      message = key ? find(*key) : nullptr;
      ++(message != nullptr ? found.refused : found.unexpected);
    }
    if (message != nullptr)
      message->dead_lettered = 1;
  }
  return {};
}

result<verdict> comparison::hold_against(storage::store& database) {
  verdict found;
  for (expected& message : messages_)
    message.stored = message.dead_lettered = 0;
  // Letters first: one that is replayed meanwhile is then seen in both places, not in neither.
  if (const auto counted = count_letters(database, found); !counted)
    return counted.error();
  if (const auto counted = count_rows(database, found); !counted)
    return counted.error();
  std::uint64_t named = 0;
  for (const expected& message : messages_) {
    const bool lost = message.acknowledged && message.stored == 0 && !message.dead_lettered;
    found.unrouted += message.unrouted && message.stored == 0 && !message.dead_lettered ? 1 : 0;
    if (message.malformed) {
      found.malformed += message.acknowledged;
      found.malformed_there += message.dead_lettered;
      found.malformed_missing += lost ? 1 : 0;
    } else {
      ++found.sent;
      found.confirmed += message.acknowledged;
      found.missing += lost ? 1 : 0;
    }
    if (lost && named < offenders_max) {
      ++named;
      found.offenders.push_back({message.malformed ? "dead_letter_missing" : "missing", message.line, {}});
    }
  }
  return found;
}

nlohmann::ordered_json as_json(const verdict& found, const verify_options& options, const ledger_header& header,
                               const histogram& latencies, double waited) {
  nlohmann::ordered_json offenders = nlohmann::ordered_json::array();
  for (const offender& one : found.offenders) {
    const bool letter = one.what == "dead_letter_missing";
    auto entry = offender_json(one, letter ? std::vector<std::string>{} : header.key);
    if (letter && !one.values.empty())
      entry["id"] = one.values.front();
    offenders.push_back(std::move(entry));
  }
  return {{"verdict", found.good() ? "good" : "bad"},
          {"pipeline", options.pipeline},
          {"ledger", options.ledger.string()},
          {"sent", found.sent},
          {"confirmed", found.confirmed},
          {"stored", found.stored},
          {"missing", found.missing},
          {"repeated", found.repeated},
          {"unconfirmed_stored", found.unconfirmed_stored},
          {"unrouted", found.unrouted},
          {"foreign", found.foreign},
          {"dead_letters",
           {{"malformed", found.malformed},
            {"expected", found.malformed_there},
            {"missing", found.malformed_missing},
            {"refused", found.refused},
            {"unexpected", found.unexpected}}},
          {"latency_ms", latency_json(latencies)},
          {"waited_s", waited},
          {"offenders", offenders}};
}

void print_text(std::ostream& out, const verdict& found, const ledger_header& header, const histogram& latencies) {
  print_count(out, "sent", found.sent);
  print_count(out, "confirmed", found.confirmed, "  by the broker");
  print_count(out, "stored", found.stored);
  print_count(out, "missing", found.missing);
  print_count(out, "repeated", found.repeated);
  print_count(out, "unconfirmed but stored", found.unconfirmed_stored);
  if (found.unrouted > 0)
    print_count(out, "without a subscriber", found.unrouted, "  thrown away by the broker, which said so");
  print_count(out, "malformed, confirmed", found.malformed);
  print_count(out, "  dead-lettered", found.malformed_there);
  print_count(out, "  not dead-lettered", found.malformed_missing);
  print_count(out, "other dead letters", found.refused + found.unexpected,
              found.refused > 0 ? "  (good messages among them)" : "");
  print_count(out, "rows of others", found.foreign);
  print_latency(out, "publish to visible row", latencies);
  for (const offender& one : found.offenders)
    print_offender(out, one, one.what == "dead_letter_missing" ? std::vector<std::string>{"id"} : header.key);
  out << (found.good() ? "verdict: good, nothing missing and nothing repeated\n" : "verdict: BAD\n");
}

/// Opens the database again each time, so that one that is down or not made yet may come.
result<verdict> look(comparison& compared, const config::database& database, const config::dead_letters& letters) {
  auto store = storage::open(database, storage::access::read_only, letters);
  if (!store)
    return store.error();
  return compared.hold_against(**store);
}

} // namespace

int verify(const verify_options& given, std::ostream& out, std::ostream& err) {
  verify_options options = given;
  config::configuration configuration;
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  const auto header = read_ledger(options.ledger, [](std::size_t, const ledger_line&) { return false; });
  if (!header) {
    err << header.error().message << '\n';
    return exit_configuration;
  }
  if (options.pipeline.empty())
    options.pipeline = header->pipeline;
  const config::ingest* pipeline = find_pipeline(configuration, options.pipeline, err);
  if (pipeline == nullptr)
    return exit_configuration;
  comparison compared{*pipeline};
  if (const auto read = compared.read(options.ledger); !read) {
    err << read.error().message << '\n';
    return exit_configuration;
  }

  const auto started = steady_clock::now();
  while (true) {
    const auto began = steady_clock::now();
    auto found = look(compared, configuration.databases.at(pipeline->database), pipeline->dead_letters);
    const auto now = steady_clock::now();
    const bool over = now - started >= options.wait;
    if (over && !found) {
      err << "the database cannot be read: " << found.error().to_string() << '\n';
      return exit_unavailable;
    }
    if (found && (over || found->complete())) {
      name_offenders(found->offenders, [&](const value_visitor& visit) {
        static_cast<void>(read_ledger(
          options.ledger, [&](std::size_t number, const ledger_line& line) { return visit(number, line.values); }));
      });
      if (options.json)
        out << as_json(*found, options, *header, compared.latencies(),
                       std::chrono::duration<double>(now - started).count())
                 .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
            << '\n';
      else
        print_text(out, *found, *header, compared.latencies());
      return found->good() ? exit_done : exit_verdict_bad;
    }
    if (found)
      err << "verify: " << with_commas(found->missing + found->malformed_missing) << " still missing, "
          << clock_text(std::chrono::ceil<std::chrono::seconds>(options.wait - (now - started))) << " left"
          << std::endl;
    // A look costs in proportion to the table: most of the time must go to the database's own work.
    const auto pause = std::max<steady_clock::duration>(500ms, 3 * (now - began));
    std::this_thread::sleep_for(std::min<steady_clock::duration>(pause, options.wait - (now - started)));
  }
}

} // namespace penstock::nodes
