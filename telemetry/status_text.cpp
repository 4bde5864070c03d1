#include "telemetry/status_text.hpp"

#include "telemetry/visible.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>
#include <vector>

namespace penstock::telemetry {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t width_max = 100;

const ordered_json empty_object = ordered_json::object();

const ordered_json& object(const ordered_json& parent, const char* key) {
  const auto position = parent.find(key);
  return position == parent.end() ? empty_object : *position;
}

std::string text(const ordered_json& parent, const char* key) {
  const auto position = parent.find(key);
  return position == parent.end() || !position->is_string() ? std::string{} : visible(position->get<std::string>());
}

/// Pieces with blanks between them, indented by two; what does not fit goes on in the next line, indented by four.
void print_pieces(std::string& out, const std::vector<std::string>& pieces) {
  std::size_t width = 1;
  out += ' ';
  for (const auto& piece : pieces) {
    if (width > 3 && width + 1 + piece.size() > width_max) {
      out += "\n   ";
      width = 3;
    }
    out += ' ' + piece;
    width += 1 + piece.size();
  }
  out += '\n';
}

void print_line(std::string& out, const std::string& line) {
  std::istringstream words{line};
  print_pieces(out, {std::istream_iterator<std::string>{words}, {}});
}

double number(const ordered_json& parent, const char* key) { return parent.value(key, 0.0); }
std::uint64_t whole(const ordered_json& parent, const char* key) { return parent.value(key, std::uint64_t{0}); }

std::string grouped(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (auto position = static_cast<std::ptrdiff_t>(digits.size()) - 3; position > 0; position -= 3)
    digits.insert(static_cast<std::size_t>(position), ",");
  return digits;
}

std::string rate(double per_second) { return grouped(static_cast<std::uint64_t>(std::llround(per_second))) + "/s"; }

std::string bytes(std::uint64_t count) {
  if (count < 1'000)
    return fmt::format("{} B", count);
  if (count < 1'000'000)
    return fmt::format("{:.1f} kB", static_cast<double>(count) / 1e3);
  return fmt::format("{:.1f} MB", static_cast<double>(count) / 1e6);
}

std::string duration(double milliseconds) {
  const auto seconds = static_cast<std::uint64_t>(milliseconds / 1'000);
  if (milliseconds == 0)
    return "0";
  if (milliseconds < 10)
    return fmt::format("{:.1f} ms", milliseconds);
  if (milliseconds < 1'000)
    return fmt::format("{:.0f} ms", milliseconds);
  if (milliseconds < 10'000)
    return fmt::format("{:.1f} s", milliseconds / 1'000);
  if (seconds < 600)
    return fmt::format("{} s", seconds);
  if (seconds < 36'000)
    return fmt::format("{} min", seconds / 60);
  return seconds < 864'000 ? fmt::format("{} h", seconds / 3'600) : fmt::format("{} d", seconds / 86'400);
}

/// Rows of cells, the first `left` columns aligned to the left, the others to the right, the last one as it is.
class table {
public:
  explicit table(std::size_t left) : left_(left) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  void print(std::string& out) const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t index = 0; index < row.size(); ++index)
        widths[index] = std::max(widths[index], row[index].size());
    }
    for (const auto& row : rows_) {
      std::string line = " ";
      for (std::size_t index = 0; index < row.size(); ++index) {
        const bool last = index + 1 == widths.size();
        const auto width = last ? 0 : widths[index];
        line += index < left_ || last ? fmt::format(" {:<{}} ", row[index], width)
                                      : fmt::format(" {:>{}} ", row[index], width);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
  }

private:
  std::size_t left_;
  std::vector<std::vector<std::string>> rows_;
};

void print_equation(std::string& out, const ordered_json& account) {
  std::vector<std::string> terms{grouped(whole(account, "received")) + " received",
                                 "= " + grouped(whole(account, "committed")) + " committed",
                                 "+ " + grouped(whole(account, "duplicate")) + " duplicate",
                                 "+ " + grouped(whole(account, "dead_lettered")) + " dead-lettered"};
  const auto& rejected = object(account, "rejected");
  for (const auto& [reason, count] : rejected.items())
    terms.push_back(fmt::format("+ {} rejected ({})", grouped(count.get<std::uint64_t>()), visible(reason)));
  if (rejected.empty())
    terms.push_back("+ 0 rejected");
  terms.push_back("+ " + grouped(whole(account, "in_flight")) + " in flight:");
  terms.push_back(account.value("balanced", false) ? "balanced" : "NOT BALANCED");
  print_pieces(out, terms);
}

std::string connection_of(const ordered_json& shard) {
  if (!shard.value("connected", false))
    return "down"; // the reason is on top, with what is not ready
  std::string words = whole(shard, "protocol") == 4 ? "MQTT 3.1.1" : "MQTT 5";
  if (const auto connects = whole(shard, "connects"); connects > 1)
    words += fmt::format(", {} connects", connects);
  if (const auto lost = whole(shard, "sessions_lost"); lost > 0)
    words += fmt::format(", {} SESSIONS LOST", lost);
  return shard.value("paused", false) ? words + ", PAUSED" : words;
}

void print_writer(std::string& out, const ordered_json& writer, const std::string& name) {
  const auto commits = whole(writer, "commits");
  auto line = fmt::format("{} {}{}: queue {} records in {} frames; {} commits", name, text(writer, "state"),
                          writer.value("alarm", false) ? ", ALARM" : "", grouped(whole(writer, "queue_records")),
                          grouped(whole(writer, "queue_frames")), grouped(commits));
  if (commits > 0)
    line += fmt::format(" of {} records on average", grouped(whole(writer, "commit_records") / commits));
  print_line(out, line);
  if (const auto error = text(writer, "last_error"); !error.empty())
    print_line(out, fmt::format("last error, {}: {}", text(writer, "last_error_at"), error));
}

void print_pipeline(std::string& out, const std::string& name, const ordered_json& pipeline) {
  const auto& latency = object(pipeline, "latency_ms");
  out += fmt::format("\npipeline {}: in {}, committed {}, lag {}\n", visible(name),
                     rate(number(pipeline, "received_per_second")), rate(number(pipeline, "committed_per_second")),
                     duration(number(pipeline, "lag_ms")));
  if (whole(latency, "count") > 0)
    print_line(out, fmt::format("arrival to commit: p50 {}, p90 {}, p99 {}, longest {}",
                                duration(number(latency, "p50")), duration(number(latency, "p90")),
                                duration(number(latency, "p99")), duration(number(latency, "max"))));
  if (const auto& writers = object(pipeline, "writers"); writers.size() > 1)
    for (const auto& writer : writers)
      print_writer(out, writer, fmt::format("writer {}", whole(writer, "lane")));
  else if (const auto& writer = object(pipeline, "writer"); !writer.empty())
    print_writer(out, writer, "writer");
  print_equation(out, object(pipeline, "account"));
  table shards{1};
  shards.add({"shard", "in", "committed", "lag", "credit", "in flight", "unacknowledged", "connection"});
  for (const auto& shard : object(pipeline, "shards"))
    shards.add({std::to_string(whole(shard, "shard")), rate(number(shard, "received_per_second")),
                rate(number(shard, "committed_per_second")), duration(number(shard, "lag_ms")),
                grouped(whole(shard, "credit")), grouped(whole(object(shard, "account"), "in_flight")),
                bytes(whole(shard, "unacknowledged_bytes")), connection_of(shard)});
  shards.print(out);
  if (const auto& retirement = object(pipeline, "retirement"); whole(retirement, "sessions") > 0)
    print_line(out, fmt::format("RETIRING {} sessions that no shard has any more: {} messages came so far",
                                grouped(whole(retirement, "sessions")),
                                grouped(whole(object(retirement, "account"), "received"))));
}

void print_publish_equation(std::string& out, const ordered_json& account) {
  print_pieces(out, {grouped(whole(account, "claimed")) + " claimed", "= " + grouped(whole(account, "sent")) + " sent",
                     "+ " + grouped(whole(account, "refused")) + " refused",
                     "+ " + grouped(whole(account, "held")) + " held",
                     "+ " + grouped(whole(account, "in_flight")) + " in flight:",
                     account.value("balanced", false) ? "balanced" : "NOT BALANCED"});
}

void print_publish(std::string& out, const std::string& name, const ordered_json& pipeline) {
  const auto& lag = object(pipeline, "lag_ms");
  out += fmt::format("\npublish {}: sent {}, {} rows wait, the oldest for {}\n", visible(name),
                     rate(number(pipeline, "sent_per_second")), grouped(whole(pipeline, "backlog")),
                     duration(number(pipeline, "oldest_ms")));
  if (whole(lag, "count") > 0)
    print_line(out,
               fmt::format("row to acknowledgement: p50 {}, p90 {}, p99 {}, longest {}", duration(number(lag, "p50")),
                           duration(number(lag, "p90")), duration(number(lag, "p99")), duration(number(lag, "max"))));
  print_line(out, fmt::format("poller {}{}: {} looks, {} commits; {} rows found late, {} repeats avoided, {} gaps; {} "
                              "rows tracked",
                              text(pipeline, "state"), pipeline.value("paused", false) ? ", PAUSED" : "",
                              grouped(whole(pipeline, "polls")), grouped(whole(pipeline, "commits")),
                              grouped(whole(pipeline, "found_late")), grouped(whole(pipeline, "repeats_avoided")),
                              grouped(whole(pipeline, "gaps")), grouped(whole(pipeline, "tracking_rows"))));
  if (const auto& slot = object(pipeline, "slot"); !slot.empty())
    print_line(out,
               fmt::format("slot {}: the server keeps {} of its log for it; made anew {} times",
                           visible(text(slot, "name")), bytes(whole(slot, "lag_bytes")), grouped(whole(slot, "lost"))));
  if (const auto error = text(pipeline, "last_error"); !error.empty())
    print_line(out, fmt::format("last error, {}: {}", text(pipeline, "last_error_at"), error));
  print_publish_equation(out, object(pipeline, "account"));
  table shards{1};
  shards.add({"shard", "sent", "in flight", "window", "waiting", "connection"});
  for (const auto& shard : object(pipeline, "shards"))
    shards.add({std::to_string(whole(shard, "shard")), rate(number(shard, "sent_per_second")),
                grouped(whole(object(shard, "account"), "in_flight")), grouped(whole(shard, "window")),
                grouped(whole(shard, "backlog")), connection_of(shard)});
  shards.print(out);
}

void print_databases(std::string& out, const ordered_json& databases) {
  for (const auto& [name, database] : databases.items()) {
    const auto connections = whole(database, "connections");
    const auto most = database.find("connections_max");
    out +=
      most != database.end() && most->is_number()
        ? fmt::format("  database {}: {} of {} connections\n", visible(name), connections, most->get<std::uint64_t>())
        : fmt::format("  database {}: {} connections\n", visible(name), connections);
  }
}

void print_actors(std::string& out, const ordered_json& actors) {
  if (actors.empty())
    return;
  out += "\nactors\n";
  table rows{2};
  rows.add({"name", "state", "restarts", "last failure"});
  for (const auto& [name, actor] : actors.items())
    rows.add({visible(name), actor.value("alive", false) ? "alive" : "DOWN", std::to_string(whole(actor, "restarts")),
              text(actor, "last_failure")});
  rows.print(out);
}

std::string print(const ordered_json& status) {
  const auto& node = object(status, "node");
  std::string out = fmt::format("penstock {} node {}: {}\n", text(node, "version"), text(node, "name"),
                                status.value("ready", false) ? "ready" : "NOT READY");
  out +=
    fmt::format("  up {}, pid {}, {:.1f} CPU seconds, {} resident\n", duration(number(node, "uptime_seconds") * 1'000),
                whole(node, "pid"), number(node, "cpu_seconds"), bytes(whole(node, "resident_bytes")));
  for (const auto& alert : object(status, "alerts"))
    print_line(out, fmt::format("ALERT {} of {}, since {}: {}", text(alert, "rule"), text(alert, "pipeline"),
                                text(alert, "since"), text(alert, "text")));
  if (const auto& read = object(status, "configuration"); whole(read, "reads") > 0)
    print_line(out, fmt::format("configuration {}, {}: {}", read.value("taken", true) ? "read again" : "NOT TAKEN",
                                text(read, "read_at"), text(read, "outcome")));
  for (const auto& reason : object(status, "not_ready"))
    print_line(out, visible(reason.get<std::string>()));
  for (const auto& [name, broker] : object(status, "brokers").items()) {
    const auto pid = whole(broker, "pid");
    out += pid == 0 ? fmt::format("  broker {} is DOWN\n", visible(name))
                    : fmt::format("  broker {} on port {}, pid {}\n", visible(name), whole(broker, "port"), pid);
  }
  const auto& cluster = object(status, "cluster");
  if (cluster.value("member", false) && !text(cluster, "reason").empty()) // else it is not ready, and that is said
    print_line(out, "the cluster: " + text(cluster, "reason"));
  for (const auto& [name, link] : object(cluster, "links").items())
    if (!link.value("up", false))
      print_line(out, fmt::format("no link to node {} at {}: {}", name, text(link, "address"), text(link, "reason")));
  print_databases(out, object(status, "databases"));
  for (const auto& [name, pipeline] : object(status, "pipelines").items())
    print_pipeline(out, name, pipeline);
  for (const auto& [name, pipeline] : object(status, "publish").items())
    print_publish(out, name, pipeline);
  print_actors(out, object(status, "actors"));
  return out;
}

} // namespace

result<std::string> status_text(std::string_view json) {
  const auto status = ordered_json::parse(json, nullptr, false);
  if (!status.is_object() || !status.contains("node"))
    return error{errc::payload_malformed, "the answer is not the status of a penstock node"};
  try {
    return print(status);
  } catch (const std::exception& failure) {
    return error{errc::payload_malformed,
                 std::string{"the status has another shape than this version knows: "} + failure.what()};
  }
}

} // namespace penstock::telemetry
