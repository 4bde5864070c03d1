// A connection of a simulated node to a database: each request takes its time, and may be lost (world::request).
#pragma once

#include "tests/sim/world.hpp"

#include <memory>
#include <utility>

namespace penstock::sim {

class connection {
public:
  connection(world& given, process& from, service to) : world_(given), from_(from), to_(to) {}

protected:
  template <class Effect>
  auto ask(Effect effect) -> decltype(effect()) {
    return world_.request(from_, to_, broken_, std::move(effect));
  }
  world& world_;
  process& from_;

private:
  service to_;
  bool broken_ = false;
};

/// Makes one, which is a request itself.
template <class Interface, class Connection>
result<std::unique_ptr<Interface>> open_connection(world& given, process& from, service to) {
  bool broken = false;
  return given.request(from, to, broken, [&]() -> result<std::unique_ptr<Interface>> {
    return std::unique_ptr<Interface>{std::make_unique<Connection>(given, from)};
  });
}

} // namespace penstock::sim
