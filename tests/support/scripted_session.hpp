// A session whose broker is the test: it hands out bursts and sees what is released.
#pragma once

#include "actors/session.hpp"
#include "mqtt/client.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace penstock::testing {

/// What the test sees of all sessions that were opened, and how it speaks to the last one.
struct broker_script {
  std::vector<actors::session_request> requests; ///< one for each session that was opened
  std::vector<sequence> released;                ///< in the order of the calls
  bool started = false;
  bool paused = false;
  bool hold_pause = false; ///< the test confirms pauses itself, by pause_done
  std::function<void()> pause_done;
  bool stopped = false;
  bool forgotten = false; ///< stopped, and the broker was to end the session
  bool open = false;
  sequence last = 0;
  actors::session_handlers handlers;

  void connect(std::uint8_t protocol = 5) {
    mqtt::connection_state state;
    state.connected = true;
    state.session_present = true;
    state.protocol = protocol;
    handlers.on_state(state);
  }
  void disconnect() { handlers.on_state({}); }
  /// All that was to be subscribed to, or not any more, is confirmed; but for `refused`.
  void settle(const std::string& refused = "") { handlers.on_settled(refused); }
  void drain() { handlers.on_drained(); }

  /// Messages of one burst; each payload becomes one message on `topic`.
  void deliver(const std::string& topic, const std::vector<std::string>& payloads, wall_time arrived = wall_now()) {
    auto bytes = std::make_shared<std::vector<std::string>>(payloads);
    auto name = std::make_shared<std::string>(topic);
    auto burst = std::make_shared<mqtt::burst>();
    burst->first = last + 1;
    burst->arrived = arrived;
    for (const auto& payload : *bytes) {
      mqtt::inbound message;
      message.topic = *name;
      message.payload = payload;
      message.qos = 1;
      burst->messages.push_back(message);
      burst->bytes += name->size() + payload.size();
    }
    burst->storage = {bytes, name};
    last += payloads.size();
    handlers.on_burst(std::move(burst));
  }
};

class scripted_session final : public actors::session {
public:
  scripted_session(std::shared_ptr<broker_script> script, actors::session_handlers handlers)
    : script_(std::move(script)) {
    script_->handlers = std::move(handlers);
    script_->open = true;
    script_->stopped = script_->forgotten = false;
    script_->last = 0;
  }
  ~scripted_session() override {
    script_->open = false;
    script_->handlers = {};
  }
  void start() override { script_->started = true; }
  void release(sequence last) override { script_->released.push_back(last); }
  void pause(std::function<void()> done) override {
    script_->paused = true;
    if (script_->hold_pause)
      script_->pause_done = std::move(done);
    else if (done)
      done();
  }
  void resume() override { script_->paused = false; }
  void stop(std::function<void()> done) override {
    script_->stopped = true;
    done();
  }
  void forget(std::function<void()> done) override {
    script_->forgotten = true;
    done();
  }

private:
  std::shared_ptr<broker_script> script_;
};

inline actors::session_factory scripted(std::shared_ptr<broker_script> script) {
  return [script](actors::session_request request, actors::session_handlers handlers) {
    script->requests.push_back(std::move(request));
    return std::make_unique<scripted_session>(script, std::move(handlers));
  };
}

} // namespace penstock::testing
