#include "nodes/publisher_pool.hpp"

#include <numeric>
#include <random>
#include <unistd.h>

namespace penstock::nodes {

publisher_pool::publisher_pool(const config::broker& broker, std::size_t connections)
  : connected_(connections), down_since_(std::chrono::steady_clock::now()), down_reason_("no answer yet"),
    outstanding_(connections) {
  const std::string run = std::to_string(::getpid()) + "-" + std::to_string(std::random_device{}() % 1'000'000);
  for (std::size_t i = 0; i < connections; ++i) {
    mqtt::client_options options;
    options.broker = broker;
    // A load has no later: it comes back from an outage soon, or gives up.
    options.broker.reconnect_max = std::min(broker.reconnect_max, config::milliseconds{1'000});
    options.client_id = "penstock-load-" + run + "-" + std::to_string(i);
    options.clean_start = true;
    mqtt::client_handlers handlers;
    handlers.on_published = [this, i](std::span<const mqtt::completion> completions) {
      const std::lock_guard lock{mutex_};
      const bool first = arrived_.empty();
      for (const auto& one : completions)
        arrived_.push_back({i, {one.token, one.reason}});
      if (first)
        changed_.notify_one();
    };
    handlers.on_burst = [](const std::shared_ptr<const mqtt::burst>&) {};
    handlers.on_state = [this, i](const mqtt::connection_state& state) {
      const std::lock_guard lock{mutex_};
      if (state.connected != connected_[i]) {
        connected_[i] = state.connected;
        connected_count_ += state.connected ? 1u : std::size_t{0} - 1u;
        if (connected_count_ == 0)
          down_since_ = std::chrono::steady_clock::now();
      }
      if (state.reason)
        down_reason_ = state.reason->to_string();
      changed_.notify_one();
    };
    clients_.push_back(std::make_unique<mqtt::client>(io_, std::move(options), std::move(handlers)));
  }
  for (auto& client : clients_)
    client->start();
}

publisher_pool::~publisher_pool() = default;

std::size_t publisher_pool::outstanding() const {
  return std::accumulate(outstanding_.begin(), outstanding_.end(), std::size_t{0});
}

void publisher_pool::publish(std::size_t connection, std::vector<mqtt::outbound> messages) {
  outstanding_[connection] += messages.size();
  clients_[connection]->publish(std::move(messages));
}

std::vector<publisher_pool::acknowledgement> publisher_pool::take(std::chrono::microseconds wait) {
  std::vector<arrived> taken;
  {
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, wait, [this] { return !arrived_.empty(); });
    taken.swap(arrived_);
  }
  std::vector<acknowledgement> out;
  out.reserve(taken.size());
  for (const arrived& one : taken) {
    --outstanding_[one.connection];
    out.push_back(one.acknowledged);
  }
  return out;
}

std::size_t publisher_pool::wait_connected(std::chrono::milliseconds wait) {
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, wait, [this] { return connected_count_ == connected_.size(); });
  return connected_count_;
}

std::optional<monotonic> publisher_pool::down_since() const {
  const std::lock_guard lock{mutex_};
  return connected_count_ == 0 ? std::optional{down_since_} : std::nullopt;
}

std::string publisher_pool::down_reason() const {
  const std::lock_guard lock{mutex_};
  return down_reason_;
}

void publisher_pool::stop() {
  for (auto& client : clients_)
    client->stop([this] {
      const std::lock_guard lock{mutex_};
      ++stopped_;
      changed_.notify_one();
    });
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stopped_ == clients_.size(); });
}

} // namespace penstock::nodes
