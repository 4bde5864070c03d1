#include "actors/mqtt_session.hpp"

#include "config/session_fate.hpp"

namespace penstock::actors {

namespace {

/// Rises when the way in which a pipeline's messages are dealt to sessions changes.
constexpr int generation = 1;
/// Brokers that deliver from another process than the one that answers a PINGREQ need a while; mosquitto needs none.
constexpr std::chrono::milliseconds drained_after{1'000};

class mqtt_session final : public session {
public:
  mqtt_session(mqtt::io_thread& io, mqtt::client_options options, mqtt::client_handlers handlers)
    : client_(io, std::move(options), std::move(handlers)) {}
  void start() override { client_.start(); }
  void release(sequence last) override { client_.release(last); }
  void pause(std::function<void()> done) override { client_.pause(std::move(done)); }
  void resume() override { client_.resume(); }
  void stop(std::function<void()> done) override { client_.stop(std::move(done)); }
  void forget(std::function<void()> done) override { client_.stop(std::move(done), true); }

private:
  mqtt::client client_;
};

} // namespace

std::string client_id_of(const std::string& installation, const std::string& pipeline, std::uint32_t shard) {
  return "penstock-" + installation + "-" + pipeline + "-" + std::to_string(generation) + "-" + std::to_string(shard);
}

session_record session_record_of(const std::string& installation, const config::ingest& pipeline, std::uint32_t shard) {
  session_record record;
  record.client_id = client_id_of(installation, pipeline.name, shard);
  record.broker = pipeline.broker;
  record.pipeline = pipeline.name;
  record.shard = shard;
  record.table = pipeline.table;
  const auto shared = pipeline.shards > 1 ? "$share/penstock-" + installation + "-" + pipeline.name + "/" : "";
  for (const auto& filter : config::filters_of(pipeline))
    record.filters.push_back(shared + filter);
  return record;
}

mqtt::client_options client_options_of(const session_request& request, const config::broker& broker,
                                       const config::ingest& pipeline) {
  mqtt::client_options options;
  options.broker = broker;
  options.client_id = request.record.client_id;
  options.clean_start = request.what == session_request::purpose::forget;
  options.was_there = request.record.settled && request.what == session_request::purpose::receive;
  options.subscriptions = request.record.filters;
  options.subscription_qos = pipeline.qos;
  options.unsubscriptions = request.stale;
  if (request.what == session_request::purpose::drain)
    options.drained_after = drained_after;
  options.in_flight_messages_max = pipeline.in_flight.messages_max;
  options.in_flight_bytes_max = pipeline.in_flight.bytes_max;
  return options;
}

session_factory mqtt_sessions(mqtt::io_thread& io, std::function<config::broker(const std::string& name)> broker_of,
                              const config::ingest& pipeline, dial_rule may_dial) {
  return [&io, broker_of = std::move(broker_of), pipeline, may_dial = std::move(may_dial)](session_request request,
                                                                                           session_handlers handlers) {
    mqtt::client_handlers callbacks;
    callbacks.on_burst = std::move(handlers.on_burst);
    callbacks.on_state = std::move(handlers.on_state);
    callbacks.on_settled = std::move(handlers.on_settled);
    callbacks.on_drained = std::move(handlers.on_drained);
    auto options = client_options_of(request, broker_of(request.record.broker), pipeline);
    if (may_dial)
      options.may_dial = [may_dial, record = std::move(request.record)](bool taken_over, monotonic since) {
        return may_dial(record, taken_over, since);
      };
    return std::make_unique<mqtt_session>(io, std::move(options), std::move(callbacks));
  };
}

} // namespace penstock::actors
