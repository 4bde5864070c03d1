#include "actors/mqtt_session.hpp"

#include "core/assert.hpp"
#include "decode/decoder.hpp"

namespace penstock::actors {

namespace {

/// Rises when the way in which a pipeline's messages are dealt to sessions changes.
constexpr int generation = 1;

class mqtt_session final : public session {
public:
  mqtt_session(mqtt::io_thread& io, mqtt::client_options options, mqtt::client_handlers handlers)
    : client_(io, std::move(options), std::move(handlers)) {}
  void start() override { client_.start(); }
  void release(sequence last) override { client_.release(last); }
  void pause(std::function<void()> done) override { client_.pause(std::move(done)); }
  void resume() override { client_.resume(); }
  void stop(std::function<void()> done) override { client_.stop(std::move(done)); }

private:
  mqtt::client client_;
};

std::vector<std::string> subscriptions_of(const std::string& installation, const config::ingest& pipeline) {
  std::vector<std::string> filters;
  for (const auto& topic : pipeline.topics) {
    auto pattern = decode::topic_pattern::parse(topic);
    assert_that(static_cast<bool>(pattern), "topics of a checked configuration are patterns");
    auto filter = pattern->filter();
    if (pipeline.shards > 1)
      filter = "$share/penstock-" + installation + "-" + pipeline.name + "/" + filter;
    filters.push_back(std::move(filter));
  }
  return filters;
}

} // namespace

std::string client_id_of(const std::string& installation, const std::string& pipeline, std::uint32_t shard) {
  return "penstock-" + installation + "-" + pipeline + "-" + std::to_string(generation) + "-" + std::to_string(shard);
}

mqtt::client_options client_options_of(const std::string& installation, const config::broker& broker,
                                       const config::ingest& pipeline, std::uint32_t shard) {
  mqtt::client_options options;
  options.broker = broker;
  options.client_id = client_id_of(installation, pipeline.name, shard);
  options.subscriptions = subscriptions_of(installation, pipeline);
  options.subscription_qos = pipeline.qos;
  options.in_flight_messages_max = pipeline.in_flight.messages_max;
  options.in_flight_bytes_max = pipeline.in_flight.bytes_max;
  return options;
}

session_factory mqtt_sessions(mqtt::io_thread& io, const config::broker& broker, const config::ingest& pipeline,
                              std::uint32_t shard, std::function<bool(bool, monotonic)> may_dial) {
  return [&io, broker, pipeline, shard, may_dial = std::move(may_dial)](const std::string& installation,
                                                                        session_handlers handlers) {
    mqtt::client_handlers callbacks;
    callbacks.on_burst = std::move(handlers.on_burst);
    callbacks.on_state = std::move(handlers.on_state);
    auto options = client_options_of(installation, broker, pipeline, shard);
    options.may_dial = may_dial;
    return std::make_unique<mqtt_session>(io, std::move(options), std::move(callbacks));
  };
}

} // namespace penstock::actors
