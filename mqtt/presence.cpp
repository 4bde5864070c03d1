#include "mqtt/presence.hpp"

#include "config/topic_pattern.hpp"
#include "core/backoff.hpp"
#include "core/json_text.hpp"
#include "core/time_text.hpp"
#include "core/types.hpp"
#include "telemetry/log.hpp"

#include <mqtt/async_client.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <unistd.h>
#include <utility>

namespace penstock::mqtt {

namespace paho = ::mqtt;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr int qos = 1;
constexpr auto stop_poll = 50ms;

std::string quoted(const std::string& text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string with_node(const std::string& topic, const std::string& node) {
  const auto pattern = config::topic_pattern::parse(topic);
  return pattern ? pattern->topic({{"node", node}}) : topic;
}

std::string server_of(const config::broker& broker) {
  const std::string host = broker.host.empty() ? "127.0.0.1" : broker.host;
  return (broker.use_tls ? "ssl://" : "tcp://") + host + ":" + std::to_string(broker.port);
}

} // namespace

presence_options presence_options_of(const config::control& control, const config::broker& broker,
                                     const std::string& installation, const std::string& node,
                                     const std::string& version) {
  return {broker,
          "penstock-" + installation + "-presence-" + node,
          node,
          version,
          control.status_topic,
          control.control_topic};
}

presence_options alert_options_of(const config::broker& broker, const std::string& installation,
                                  const std::string& node, const std::string& version) {
  return {broker, "penstock-" + installation + "-alerts-" + node, node, version, {}, {}};
}

/// One thread makes all of Paho's blocking calls; Paho's own threads only set flags here and hand on commands.
struct presence::impl {
  impl(presence_options given, command_handler command, state_handler state)
    : options(std::move(given)), on_command(std::move(command)), on_state(std::move(state)),
      status_topic(with_node(options.status_topic, options.node)),
      control_topic(with_node(options.control_topic, options.node)) {}

  void run();
  bool connect(paho::async_client& client);
  void serve(paho::async_client& client);
  void say_goodbye(paho::async_client& client);
  paho::connect_options connect_options() const;
  std::string online() const;
  std::string offline() const;
  void publish_status(paho::async_client& client, const std::string& text);
  bool completed(const paho::token_ptr& token, milliseconds timeout);
  void tell(const std::string& failure);
  bool wait_while_not_stopping(milliseconds pause);

  const presence_options options;
  const command_handler on_command;
  const state_handler on_state;
  const std::string status_topic;
  const std::string control_topic;
  std::optional<std::string> told; ///< the last state

  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  bool lost = false;
  milliseconds stop_timeout{1'000};
  std::optional<std::string> to_report;
  std::map<std::string, std::string> retained; ///< text by topic
  std::set<std::string> to_retain;             ///< topics that are not published yet
  std::thread thread;
};

std::string presence::impl::online() const {
  return "{\"node\": " + quoted(options.node) + ", \"status\": \"online\", \"version\": " + quoted(options.version) +
         ", \"pid\": " + std::to_string(getpid()) + ", \"since\": " + quoted(format_rfc3339(wall_now())) + "}";
}

std::string presence::impl::offline() const {
  return "{\"node\": " + quoted(options.node) + ", \"status\": \"offline\", \"version\": " + quoted(options.version) +
         "}";
}

paho::connect_options presence::impl::connect_options() const {
  paho::connect_options out;
  out.set_mqtt_version(MQTTVERSION_3_1_1);
  out.set_clean_session(true);
  out.set_keep_alive_interval(std::chrono::ceil<std::chrono::seconds>(options.broker.keep_alive));
  out.set_connect_timeout(std::chrono::ceil<std::chrono::seconds>(options.broker.connect_timeout));
  if (!status_topic.empty())
    out.set_will(paho::will_options{status_topic, offline(), qos, true});
  if (!options.broker.user.empty())
    out.set_user_name(options.broker.user);
  if (!options.broker.password.value.empty())
    out.set_password(options.broker.password.value);
  if (options.broker.use_tls) {
    const auto& tls = options.broker.tls;
    paho::ssl_options ssl;
    if (!tls.ca.empty())
      ssl.set_trust_store(tls.ca.string());
    if (!tls.certificate.empty())
      ssl.set_key_store(tls.certificate.string());
    if (!tls.key.empty())
      ssl.set_private_key(tls.key.string());
    ssl.set_enable_server_cert_auth(tls.verify);
    ssl.set_verify(tls.verify);
    out.set_ssl(std::move(ssl));
  }
  return out;
}

void presence::impl::run() {
  backoff pauses{options.broker.reconnect_min, options.broker.reconnect_max,
                 std::hash<std::string>{}(options.client_id)};
  do {
    try {
      paho::async_client client{server_of(options.broker), options.client_id};
      client.set_connection_lost_handler([this](const std::string&) {
        const std::lock_guard lock{mutex};
        lost = true;
        changed.notify_all();
      });
      client.set_message_callback([this](const paho::const_message_ptr& message) {
        if (on_command)
          on_command(message->to_string());
      });
      if (connect(client)) {
        pauses.reset();
        tell("");
        serve(client);
      }
    } catch (const std::exception& failure) {
      tell(failure.what());
    }
  } while (wait_while_not_stopping(pauses.next()));
}

bool presence::impl::connect(paho::async_client& client) {
  {
    const std::lock_guard lock{mutex};
    if (stopping)
      return false;
    lost = false;
  }
  const auto connecting = client.connect(connect_options());
  // Paho's own limit ends it earlier; this one only guards against its silence.
  if (!completed(connecting, options.broker.connect_timeout * 2)) {
    tell("the broker does not answer");
    return false;
  }
  publish_status(client, online());
  {
    const std::lock_guard lock{mutex};
    for (const auto& [topic, unused] : retained)
      to_retain.insert(topic);
  }
  if (!control_topic.empty())
    completed(client.subscribe(control_topic, qos), options.broker.connect_timeout);
  return true;
}

/// Until the connection is lost or the end has come.
void presence::impl::serve(paho::async_client& client) {
  for (;;) {
    std::optional<std::string> status;
    std::map<std::string, std::string> others;
    {
      std::unique_lock lock{mutex};
      changed.wait(lock, [&] { return stopping || lost || to_report || !to_retain.empty(); });
      if (lost)
        break;
      if (stopping) {
        lock.unlock();
        return say_goodbye(client);
      }
      status = std::exchange(to_report, std::nullopt);
      for (const auto& topic : std::exchange(to_retain, {}))
        others[topic] = retained.at(topic);
    }
    if (status)
      publish_status(client, *status);
    for (const auto& [topic, text] : others)
      client.publish(topic, text, qos, true);
  }
  tell("the connection to the broker is lost");
}

void presence::impl::say_goodbye(paho::async_client& client) {
  const auto deadline = steady_clock::now() + stop_timeout;
  const auto left = [&] {
    return std::max(1ms, std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()));
  };
  if (!status_topic.empty())
    client.publish(status_topic, offline(), qos, true)->wait_for(left());
  client.disconnect(static_cast<int>(left().count()))->wait_for(left());
}

void presence::impl::publish_status(paho::async_client& client, const std::string& text) {
  if (!status_topic.empty())
    client.publish(status_topic, text, qos, true);
}

/// False when it takes too long, or the end has come. Throws what Paho throws.
bool presence::impl::completed(const paho::token_ptr& token, milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (steady_clock::now() < deadline) {
    if (token->wait_for(stop_poll))
      return true;
    const std::lock_guard lock{mutex};
    if (stopping)
      return false;
  }
  return false;
}

void presence::impl::tell(const std::string& failure) {
  if (told == failure)
    return;
  told = failure;
  if (on_state)
    on_state(failure);
  else if (!failure.empty())
    log::warning("presence", options.node, "not connected ({}); trying again", failure);
}

bool presence::impl::wait_while_not_stopping(milliseconds pause) {
  std::unique_lock lock{mutex};
  return !changed.wait_for(lock, pause, [&] { return stopping; });
}

presence::presence(presence_options options, command_handler on_command, state_handler on_state)
  : impl_(std::make_unique<impl>(std::move(options), std::move(on_command), std::move(on_state))) {}

presence::~presence() { stop(); }

void presence::start() {
  if (!impl_->thread.joinable())
    impl_->thread = std::thread{[self = impl_.get()] { self->run(); }};
}

void presence::report(const std::string& text) {
  const std::lock_guard lock{impl_->mutex};
  impl_->to_report = text;
  impl_->changed.notify_all();
}

void presence::retain(const std::string& topic, const std::string& text) {
  const std::lock_guard lock{impl_->mutex};
  impl_->retained[topic] = text;
  impl_->to_retain.insert(topic);
  impl_->changed.notify_all();
}

void presence::stop(milliseconds timeout) {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    impl_->stop_timeout = timeout;
    impl_->changed.notify_all();
  }
  if (impl_->thread.joinable())
    impl_->thread.join();
}

} // namespace penstock::mqtt
