// What a run of a simulation moves, in one direction or the other, and what is to come of it.
#pragma once

#include <memory>

namespace penstock::sim {

class world;

class flow {
public:
  virtual ~flow() = default;
  /// Puts on the agenda what is to be moved while there is chaos.
  virtual void arrange() = 0;
  /// All of it has arrived, and nothing is under way any more.
  virtual bool is_done() const = 0;
  /// Of what has arrived, and how often.
  virtual void check_end() = 0;
};

std::unique_ptr<flow> make_publish_flow(world& given);

} // namespace penstock::sim
