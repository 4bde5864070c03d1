// A node with nothing but its agent, for the tests of links and for their benchmark: it prints what becomes of its
// links, a line of JSON a change. With --send its agent has an ingestor that sends one and the same frame as fast as
// demand allows, with --write a batch-writer that takes frames and throws them away; both say when the first records
// are through, and at SIGTERM how many that were, in which time, at which cost.
#include "actors/agent.hpp"
#include "actors/links.hpp"
#include "actors/pipeline_actors.hpp"
#include "record/frame.hpp"
#include "security/tls_context.hpp"

#include <CLI/CLI.hpp>
#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <sys/resource.h>

namespace {

using namespace penstock;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

struct options {
  std::string name;
  std::string cluster = "bench";
  std::string listen;
  std::vector<std::string> peers; ///< NAME=HOST:PORT
  int lease_ms = 3'000;
  config::tls tls;
  bool send = false;
  bool write = false;
  std::uint32_t frame_records = 500;
  std::uint32_t demand = 10'000;
};

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Written by one actor, read by main at the end.
struct meter {
  std::atomic<std::uint64_t> records{0};
  clock_type::time_point first;
  clock_type::time_point last;
  double cpu_first = 0;

  void count(std::uint64_t more) {
    if (records == 0) {
      first = clock_type::now();
      cpu_first = cpu_seconds();
    }
    records += more;
    last = clock_type::now();
  }
};

const std::vector<column_type>& columns() {
  static const std::vector<column_type> types{column_type::timestamp, column_type::text, column_type::text,
                                              column_type::integer,   column_type::real, column_type::integer,
                                              column_type::json};
  return types;
}

record::frame make_frame(std::uint32_t records) {
  record::frame_builder builder{columns()};
  for (std::uint32_t i = 0; i < records; ++i) {
    builder.set_integer(0, 1'700'000'000'000'000 + i);
    builder.set_string(1, "user-" + std::to_string(i % 100));
    builder.set_string(2, "device-" + std::to_string(i));
    builder.set_integer(3, i);
    builder.set_real(4, 36.6);
    builder.set_integer(5, 80);
    builder.set_string(6, R"({"firmware":"1.2.3"})");
    builder.commit_row("users/user/devices/device/telemetry",
                       R"({"time":1700000000,"sequence_id":1,"temperature":36.6,"battery":80,"firmware":"1.2.3"})",
                       wall_now());
  }
  return builder.seal("bench", 0, 0, 1);
}

struct sink_state {
  static inline const char* name = "sink";
};

messages::batch_writer_actor::behavior_type sink(messages::batch_writer_actor::stateful_pointer<sink_state> self,
                                                 std::uint32_t demand, meter* counted) {
  set_quiet_handlers(self);
  return {
    [](messages::attach_atom, const messages::ingestor_actor&, std::uint64_t) {},
    [=](messages::attach_atom, const messages::ingestor_actor& ingestor, std::uint64_t, std::uint16_t) {
      send_urgent(self, ingestor, messages::attached{0, "bench", demand});
    },
    [](messages::attach_atom, const messages::ingestor_actor&, std::uint64_t, std::uint16_t, std::uint64_t) {},
    [](messages::detach_atom, const messages::ingestor_actor&) {},
    [=](messages::write_atom, const record::frame& frame, const messages::ingestor_actor& from) {
      const auto view = record::frame_view::open(frame, columns());
      const auto records = view ? static_cast<std::uint32_t>((*view)->rows()) : 0;
      counted->count(records);
      send_urgent(self, from,
                  messages::batch_committed{{{0, view ? (*view)->chunk() : 0, records, 0, 0}}, {0, records}});
    },
    [](messages::write_atom, const record::frame&, const messages::ingestor_actor&, std::uint64_t, std::uint64_t) {},
    [](messages::commit_atom) {},
    [](messages::enlist_atom, const session_record&, const messages::ingestor_actor&) {},
    [](messages::settle_atom, const session_record&) {},
    [](messages::sessions_atom, const messages::ingestor_actor&) {},
    [](messages::retry_atom) {},
    [](messages::check_atom) {},
  };
}

struct source_state {
  source_state() = default; // an aggregate would take the actor for its first member
  static inline const char* name = "source";
  messages::batch_writer_actor writer;
  std::uint64_t demand = 0;
};

messages::ingestor_actor::behavior_type source(messages::ingestor_actor::stateful_pointer<source_state> self,
                                               const record::frame& frame, std::uint32_t records, meter* counted) {
  set_quiet_handlers(self);
  const auto send_frames = [=](std::uint32_t more) {
    for (self->state.demand += more; self->state.demand >= records; self->state.demand -= records)
      self->send(self->state.writer, messages::write_atom_v, frame, messages::ingestor_actor{self});
  };
  return {
    [](const messages::demand&) {},
    [=](const messages::attached& first) { send_frames(first.records); },
    [](const messages::held&) {},
    [](const messages::committed&) {},
    [=](const messages::batch_committed& batch) {
      for (const auto& each : batch.frames)
        counted->count(each.stored);
      send_frames(batch.more.records);
    },
    [](const messages::burst_ptr&) {},
    [](const messages::connection_state_ptr&) {},
    [=](messages::writer_atom, std::uint32_t, const caf::strong_actor_ptr& writer, std::uint16_t) {
      self->state.writer = caf::actor_cast<messages::batch_writer_actor>(writer);
      self->state.demand = 0;
      self->send(self->state.writer, messages::attach_atom_v, messages::ingestor_actor{self}, std::uint64_t{0},
                 messages::link_version);
    },
    [](messages::detach_atom, std::uint32_t) {},
    [](messages::whole_atom, std::uint32_t, std::uint64_t) {},
    [](messages::pause_atom) {},
    [](messages::resume_atom) {},
    [](const session_record&) {},
    [](const messages::session_list&) {},
    [](messages::settled_atom, const std::string&) {},
    [](messages::drained_atom) {},
    [](messages::send_atom) {},
    [](messages::paused_atom) {},
    [](messages::closed_atom) {},
    [](messages::step_atom, std::uint64_t) {},
    [](messages::check_atom) {},
  };
}

config::address address_of(const std::string& text) {
  const auto colon = text.rfind(':');
  return {text.substr(0, colon), static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)))};
}

messages::neighbours_ptr neighbours_of(const options& chosen) {
  auto now = std::make_shared<messages::neighbours>();
  for (const auto& each : chosen.peers) {
    const auto equals = each.find('=');
    const auto address = address_of(each.substr(equals + 1));
    now->peers.push_back({each.substr(0, equals), "", address.host, address.port});
  }
  if (chosen.write)
    now->own[{"bench", 0}] = 1;
  return now;
}

/// A line for each link that is not as it was.
void print_changes(std::vector<telemetry::link_status>& before, const telemetry::link_board& board) {
  auto now = board.status();
  for (const auto& each : now)
    if (std::find(before.begin(), before.end(), each) == before.end())
      std::cout << nlohmann::json{{"peer", each.peer},
                                  {"up", each.up},
                                  {"reason", each.reason},
                                  {"version", each.version}}
                << std::endl;
  before = std::move(now);
}

void print(const meter& counted) {
  if (counted.records == 0)
    return;
  std::cout << nlohmann::json{{"records", counted.records.load()},
                              {"seconds", std::chrono::duration<double>(counted.last - counted.first).count()},
                              {"cpu_seconds", cpu_seconds() - counted.cpu_first}}
            << std::endl;
}

struct system_config : caf::actor_system_config {
  system_config() {
    messages::add_to(*this);
    set("scheduler.policy", caf::atom("sharing"));
  }
};

int run(const options& chosen) {
  system_config configuration;
  config::cluster cluster;
  cluster.name = chosen.cluster;
  cluster.lease = config::milliseconds{chosen.lease_ms};
  cluster.tls = chosen.tls;
  if (auto configured = actors::configure_links(configuration, cluster); !configured) {
    std::cerr << configured.error().to_string() << std::endl;
    return 78;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  telemetry::board board;
  actors::actor_directory directory{board};
  const auto links = std::make_shared<telemetry::link_board>();
  meter counted;
  caf::actor_system system{configuration};
  caf::scoped_actor self{system};
  std::vector<caf::actor> all;
  const auto watch = [&](const auto& child) {
    self->monitor(child);
    all.push_back(caf::actor_cast<caf::actor>(child));
  };
  actors::agent_config config;
  config.me = {chosen.cluster, chosen.name, chosen.name + "-" + std::to_string(::getpid())};
  config.address = address_of(chosen.listen);
  config.manager = actors::link_manager(system, !(chosen.tls == config::tls{}));
  config.probe = [timeout = actors::link_silence_max(cluster)](const std::string& host, std::uint16_t port) {
    return actors::probe(host, port, timeout);
  };
  config.board = links;
  config.directory = &directory;
  config.timeout = actors::link_silence_max(cluster);
  const auto agent = system.spawn(actors::agent, std::move(config));
  watch(agent);
  const auto add = [&](const std::string& name, const auto& child) {
    watch(child);
    caf::anon_send(agent, messages::started_atom_v, name, caf::actor_cast<caf::strong_actor_ptr>(child));
  };
  if (chosen.write)
    add(actors::writer_name("bench", 0), system.spawn<caf::detached>(sink, chosen.demand, &counted));
  if (chosen.send)
    add(actors::ingestor_name("bench", 0),
        system.spawn(source, make_frame(chosen.frame_records), chosen.frame_records, &counted));
  caf::anon_send(agent, neighbours_of(chosen));
  std::vector<telemetry::link_status> seen;
  const timespec tick{0, 10'000'000};
  bool flows = false;
  while (sigtimedwait(&ends, nullptr, &tick) < 0) {
    print_changes(seen, *links);
    if (!flows && counted.records > 0) {
      flows = true;
      std::cout << nlohmann::json{{"flows", true}} << std::endl;
    }
  }
  print(counted);
  for (const auto& each : all)
    caf::anon_send_exit(each, caf::exit_reason::kill);
  // As a supervisor does: the system may go when all have said that they have ended (see supervisor_state::start).
  for (std::size_t i = 0; i < all.size(); ++i)
    self->receive([](const caf::down_msg&) {});
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app{"a node with nothing but its links"};
  app.add_option("name", chosen.name)->required();
  app.add_option("--listen", chosen.listen, "HOST:PORT")->required();
  app.add_option("--cluster", chosen.cluster);
  app.add_option("--peer", chosen.peers, "NAME=HOST:PORT");
  app.add_option("--lease", chosen.lease_ms, "in ms");
  app.add_option("--ca", chosen.tls.ca);
  app.add_option("--certificate", chosen.tls.certificate);
  app.add_option("--key", chosen.tls.key);
  app.add_flag("--send", chosen.send);
  app.add_flag("--write", chosen.write);
  app.add_option("--frame", chosen.frame_records, "records in a frame");
  app.add_option("--demand", chosen.demand, "records");
  CLI11_PARSE(app, argc, argv);
  security::load_openssl();
  return run(chosen);
}
