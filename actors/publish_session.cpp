#include "actors/publish_session.hpp"

#include "actors/mqtt_session.hpp"

#include <utility>

namespace penstock::actors {

namespace {

class mqtt_publish_session final : public publish_session {
public:
  mqtt_publish_session(mqtt::io_thread& io, mqtt::client_options options, mqtt::client_handlers handlers)
    : client_(io, std::move(options), std::move(handlers)) {}
  void start() override { client_.start(); }
  void dial() override { client_.dial(); }
  void proceed(std::vector<mqtt::resumption> handshakes) override { client_.proceed(std::move(handshakes)); }
  void publish(std::vector<mqtt::outbound> messages) override { client_.publish(std::move(messages)); }
  void release_published(std::vector<std::uint16_t> packet_ids) override {
    client_.release_published(std::move(packet_ids));
  }
  void stop(std::function<void()> done) override { client_.stop(std::move(done)); }
  void forget(std::function<void()> done) override { client_.stop(std::move(done), true); }

private:
  mqtt::client client_;
};

mqtt::client_options options_of(const std::string& installation, const config::broker& broker,
                                const config::publish& pipeline, std::uint32_t shard) {
  mqtt::client_options options;
  options.broker = broker;
  options.client_id = client_id_of(installation, pipeline.name, shard);
  options.publish_window_max = pipeline.in_flight_max;
  options.publish_timeout = pipeline.publish_timeout;
  options.release_by_caller = true;
  options.on_request = true;
  return options;
}

} // namespace

publish_session_factory publish_sessions(mqtt::io_thread& io, const config::broker& broker,
                                         const config::publish& pipeline, std::uint32_t shard) {
  return [&io, broker, pipeline, shard](const std::string& installation, publish_session_handlers handlers) {
    mqtt::client_handlers callbacks;
    callbacks.on_burst = [](const std::shared_ptr<const mqtt::burst>&) {}; // it subscribes to nothing
    callbacks.on_state = std::move(handlers.on_state);
    callbacks.on_published = std::move(handlers.on_published);
    callbacks.on_dial = std::move(handlers.on_dial);
    return std::make_unique<mqtt_publish_session>(io, options_of(installation, broker, pipeline, shard),
                                                  std::move(callbacks));
  };
}

} // namespace penstock::actors
