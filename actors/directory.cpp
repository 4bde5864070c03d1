#include "actors/directory.hpp"

#include <caf/actor_cast.hpp>
#include <caf/exit_reason.hpp>

namespace penstock::actors {

void actor_directory::up(const std::string& name, const std::string& kind, const caf::actor& handle) {
  {
    const std::lock_guard lock{mutex_};
    actors_[name] = caf::actor_cast<caf::weak_actor_ptr>(handle);
  }
  board_.actor_up(name, kind);
}

void actor_directory::down(const std::string& name, const std::string& failure) {
  {
    const std::lock_guard lock{mutex_};
    actors_.erase(name);
  }
  board_.actor_down(name, failure);
}

void actor_directory::forget(const std::string& name) {
  {
    const std::lock_guard lock{mutex_};
    std::erase_if(actors_, [&](const auto& each) { return each.first == name || each.first.starts_with(name + "/"); });
  }
  board_.forget_actors(name);
}

caf::actor actor_directory::find(const std::string& name) const {
  const std::lock_guard lock{mutex_};
  const auto found = actors_.find(name);
  if (found == actors_.end())
    return {};
  return caf::actor_cast<caf::actor>(found->second.lock());
}

bool actor_directory::kill(const std::string& name) const {
  const auto handle = find(name);
  if (!handle)
    return false;
  caf::anon_send_exit(handle, caf::exit_reason::kill);
  return true;
}

std::vector<std::string> actor_directory::names() const {
  const std::lock_guard lock{mutex_};
  std::vector<std::string> result;
  result.reserve(actors_.size());
  for (const auto& [name, unused] : actors_)
    result.push_back(name);
  return result;
}

} // namespace penstock::actors
