#include "actors/supervisor.hpp"
#include "tests/support/actor_fixture.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace penstock::actors {

using namespace std::chrono_literals;

namespace {

/// Children that note when they start and end.
struct supervisor_test : testing::actor_fixture {
  std::shared_ptr<std::vector<std::string>> events = std::make_shared<std::vector<std::string>>();

  struct child_state {
    std::string label;
    std::shared_ptr<std::vector<std::string>> events;
    ~child_state() {
      if (events)
        events->push_back("-" + label);
    }
  };

  child_spec child(const std::string& label, restart_rule rule = restart_rule::permanent) {
    child_spec spec;
    spec.name = label;
    spec.kind = "child";
    spec.restart = rule;
    spec.start = [label, log = events](caf::actor_system& where) {
      return where.spawn([label, log](caf::stateful_actor<child_state>* self) -> caf::behavior {
        set_quiet_handlers(self);
        self->state.label = label;
        self->state.events = log;
        log->push_back("+" + label);
        return {
          [](messages::kill_atom) { throw std::runtime_error("boom"); },
          [self](messages::closed_atom) { self->quit(); },
        };
      });
    };
    return spec;
  }

  /// One that ends, when it was asked to, only after closed_atom.
  child_spec slow_child(const std::string& label) {
    auto spec = child(label);
    spec.start = [start = spec.start](caf::actor_system& where) {
      auto inner = start(where);
      return where.spawn([inner](caf::event_based_actor* self) -> caf::behavior {
        set_quiet_handlers(self);
        self->link_to(inner);
        self->set_exit_handler([self, inner](const caf::exit_msg& exit) {
          if (exit.source == inner.address())
            self->quit();
        });
        return {[inner](messages::closed_atom) { caf::anon_send(inner, messages::closed_atom_v); }};
      });
    };
    return spec;
  }

  /// Has a running supervisor change its children; true once it has told that it is done.
  std::shared_ptr<bool> change(const caf::actor& supervisor, std::vector<child_changes::change> children) {
    auto done = std::make_shared<bool>(false);
    auto changes = std::make_shared<child_changes>();
    changes->children = std::move(children);
    changes->on_done = [done] { *done = true; };
    caf::anon_send(supervisor, child_changes_ptr{std::move(changes)});
    settle();
    return done;
  }

  void close(const std::string& name) {
    caf::anon_send(directory.find(name), messages::closed_atom_v);
    settle();
  }

  std::vector<std::string> names_on_board() {
    std::vector<std::string> names;
    for (const auto& each : board.snapshot().actors)
      names.push_back(each.name);
    return names;
  }

  caf::actor supervise(supervisor_config config, std::vector<child_spec> children) {
    if (config.name.empty())
      config.name = "under test";
    auto handle = system.spawn(supervisor, std::move(config), std::move(children), &directory);
    settle();
    return handle;
  }

  void crash(const std::string& name) {
    caf::anon_send(directory.find(name), messages::kill_atom_v);
    settle();
  }

  std::vector<std::string> take_events() { return std::exchange(*events, {}); }

  /// Why the actor ended; empty while it lives.
  std::string end_of(const caf::actor& handle) {
    caf::scoped_actor self{system};
    self->monitor(handle);
    settle();
    std::string reason;
    self->receive([&](const caf::down_msg& down) { reason = to_text(down.reason); },
                  caf::after(std::chrono::seconds{0}) >> [] {});
    return reason;
  }
};

using events_list = std::vector<std::string>;

} // namespace

TEST_F(supervisor_test, starts_children_in_order_and_stops_all_when_asked) {
  auto root = supervise({}, {child("a"), child("b")});
  EXPECT_EQ(take_events(), (events_list{"+a", "+b"}));
  caf::anon_send_exit(root, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_EQ(take_events().size(), 2u);
  EXPECT_EQ(end_of(root), "stopped");
  EXPECT_TRUE(directory.names().empty());
}

TEST_F(supervisor_test, stops_in_reverse_one_after_the_other_when_told_so) {
  supervisor_config config;
  config.stop_in_reverse = true;
  auto root = supervise(config, {child("a"), child("b"), child("c")});
  take_events();
  caf::anon_send_exit(root, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_EQ(take_events(), (events_list{"-c", "-b", "-a"}));
}

TEST_F(supervisor_test, restarts_only_the_failed_child_with_one_for_one) {
  auto root = supervise({}, {child("a"), child("b")});
  testing::ended_at_scope_exit end{root};
  take_events();
  crash("a");
  EXPECT_EQ(take_events(), (events_list{"-a", "+a"}));
}

TEST_F(supervisor_test, restarts_a_killed_child) {
  auto root = supervise({}, {child("a")});
  testing::ended_at_scope_exit end{root};
  take_events();
  EXPECT_TRUE(directory.kill("a"));
  settle();
  EXPECT_EQ(take_events(), (events_list{"-a", "+a"}));
  EXPECT_FALSE(directory.kill("nobody"));
}

TEST_F(supervisor_test, restarts_everybody_with_one_for_all) {
  supervisor_config config;
  config.strategy = restart_strategy::one_for_all;
  auto root = supervise(config, {child("a"), child("b"), child("c")});
  testing::ended_at_scope_exit end{root};
  take_events();
  crash("b");
  const auto seen = take_events();
  ASSERT_EQ(seen.size(), 6u);
  EXPECT_EQ(seen[0], "-b");
  EXPECT_EQ((events_list{seen.begin() + 3, seen.end()}), (events_list{"+a", "+b", "+c"}));
}

TEST_F(supervisor_test, restarts_the_failed_child_and_those_after_it_with_rest_for_one) {
  supervisor_config config;
  config.strategy = restart_strategy::rest_for_one;
  auto root = supervise(config, {child("a"), child("b"), child("c"), child("d")});
  testing::ended_at_scope_exit end{root};
  take_events();
  crash("b");
  EXPECT_EQ(take_events(), (events_list{"-b", "-d", "-c", "+b", "+c", "+d"}));
}

TEST_F(supervisor_test, leaves_a_temporary_child_and_a_transient_one_that_ended_normally) {
  auto root = supervise({}, {child("temporary", restart_rule::temporary), child("transient", restart_rule::transient)});
  testing::ended_at_scope_exit end{root};
  take_events();
  crash("temporary");
  caf::anon_send(directory.find("transient"), messages::closed_atom_v);
  settle();
  EXPECT_EQ(take_events(), (events_list{"-temporary", "-transient"}));
}

TEST_F(supervisor_test, restarts_a_transient_child_that_failed_and_a_permanent_one_that_ended) {
  auto root = supervise({}, {child("transient", restart_rule::transient), child("permanent")});
  testing::ended_at_scope_exit end{root};
  take_events();
  crash("transient");
  EXPECT_EQ(take_events(), (events_list{"-transient", "+transient"}));
  caf::anon_send(directory.find("permanent"), messages::closed_atom_v);
  settle();
  pass(200ms);
  EXPECT_EQ(take_events(), (events_list{"-permanent", "+permanent"}));
}

TEST_F(supervisor_test, waits_longer_from_the_second_restart_on) {
  supervisor_config config;
  config.backoff_min = 100ms;
  auto root = supervise(config, {child("a")});
  testing::ended_at_scope_exit end{root};
  crash("a");
  take_events();
  crash("a");
  EXPECT_EQ(take_events(), (events_list{"-a"}));
  pass(100ms);
  EXPECT_EQ(take_events(), (events_list{"+a"}));
}

TEST_F(supervisor_test, gives_up_when_the_budget_is_overspent_and_takes_its_children_along) {
  supervisor_config config;
  config.restarts_max = 2;
  auto root = supervise(config, {child("a"), child("b")});
  for (int i = 0; i < 3; ++i) {
    crash("a");
    pass(500ms);
  }
  EXPECT_EQ(end_of(root), "under test: a keeps failing: boom");
  const auto seen = take_events();
  EXPECT_EQ(std::count(seen.begin(), seen.end(), "+a"), 3);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), "-b"), 1);
}

TEST_F(supervisor_test, forgets_failures_that_left_the_window) {
  supervisor_config config;
  config.restarts_max = 1;
  config.window = 10s;
  auto root = supervise(config, {child("a")});
  testing::ended_at_scope_exit end{root};
  for (int i = 0; i < 5; ++i) {
    crash("a");
    pass(10s);
  }
  EXPECT_EQ(end_of(root), "");
}

TEST_F(supervisor_test, escalates_through_the_tree) {
  supervisor_config inner;
  inner.name = "inner";
  inner.restarts_max = 1;
  child_spec subtree;
  subtree.name = "inner";
  subtree.kind = "supervisor";
  subtree.start = [this, inner](caf::actor_system& where) -> caf::actor {
    return where.spawn(supervisor, inner, std::vector{child("a")}, &directory);
  };
  supervisor_config outer;
  outer.restarts_max = 1;
  auto root = supervise(outer, {subtree});
  for (int i = 0; i < 2; ++i) { // overspends inner's budget: the root restarts inner as a whole
    crash("a");
    pass(500ms);
  }
  EXPECT_EQ(end_of(root), "");
  EXPECT_NE(directory.find("a"), nullptr);
  for (int i = 0; i < 2; ++i) {
    crash("a");
    pass(500ms);
  }
  EXPECT_NE(end_of(root).find("inner keeps failing"), std::string::npos);
  EXPECT_EQ(directory.find("a"), nullptr);
}

TEST_F(supervisor_test, kills_a_child_that_does_not_end_in_time) {
  auto stubborn = child("stubborn");
  stubborn.stop_timeout = 1s;
  stubborn.start = [](caf::actor_system& where) {
    return where.spawn([](caf::event_based_actor* self) -> caf::behavior {
      set_quiet_handlers(self);
      self->set_exit_handler([](const caf::exit_msg&) {});
      return {[](messages::closed_atom) {}};
    });
  };
  auto root = supervise({}, {stubborn});
  caf::anon_send_exit(root, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_EQ(end_of(root), "");
  pass(1s);
  EXPECT_EQ(end_of(root), "stopped");
}

TEST_F(supervisor_test, announces_every_start) {
  std::vector<std::string> announced;
  supervisor_config config;
  config.on_start = [&](const std::string& name, const auto& find) {
    announced.push_back(name + (find("a") ? " with a" : " without a"));
  };
  auto root = supervise(config, {child("b"), child("a")});
  testing::ended_at_scope_exit end{root};
  EXPECT_EQ(announced, (events_list{"b without a", "a with a"}));
  crash("b");
  EXPECT_EQ(announced.back(), "b with a");
}

TEST_F(supervisor_test, hears_of_an_end_after_everybody_else_has) {
  supervisor_config config;
  // The first thing that others can do with a child.
  config.on_start = [log = events, all = &scheduler()](const std::string&, const auto& find) {
    find("a")->attach_functor([=] { log->push_back(all->has_job() ? "told already" : "not told yet"); });
  };
  const auto root = supervise(config, {child("a")});
  testing::ended_at_scope_exit end{root};
  crash("a");
  const auto seen = take_events();
  EXPECT_EQ(std::count(seen.begin(), seen.end(), "not told yet"), 1);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), "told already"), 0);
  EXPECT_EQ(seen.back(), "+a");
}

// --- children that come and go

TEST_F(supervisor_test, takes_and_drops_children_while_it_runs) {
  auto root = supervise({}, {child("a"), child("b")});
  testing::ended_at_scope_exit end{root};
  take_events();
  EXPECT_TRUE(*change(root, {{"c", child("c")}, {"a", std::nullopt}}));
  EXPECT_EQ(take_events(), (events_list{"+c", "-a"}));
  EXPECT_EQ(directory.names(), (events_list{"b", "c"}));
  EXPECT_EQ(names_on_board(), (events_list{"b", "c"}));
  crash("c"); // it is one of them now
  EXPECT_EQ(take_events(), (events_list{"-c", "+c"}));
  caf::anon_send_exit(root, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_EQ(take_events().size(), 2u);
}

TEST_F(supervisor_test, starts_a_successor_only_when_the_name_is_free) {
  auto root = supervise({}, {slow_child("a"), child("b")});
  testing::ended_at_scope_exit end{root};
  take_events();
  auto successor = child("a");
  const auto done = change(root, {{"a", successor}, {"c", child("c")}});
  EXPECT_EQ(take_events(), (events_list{"+c"})) << "nobody waits for another's end";
  pass(1s);
  EXPECT_FALSE(*done);
  close("a");
  EXPECT_EQ(take_events(), (events_list{"-a", "+a"}));
  EXPECT_TRUE(*done);
  crash("a"); // by the new specification, it ends at once
  EXPECT_EQ(take_events(), (events_list{"-a", "+a"}));
}

TEST_F(supervisor_test, a_successor_is_no_restart) {
  supervisor_config config;
  config.restarts_max = 0;
  auto root = supervise(config, {child("a")});
  testing::ended_at_scope_exit end{root};
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(*change(root, {{"a", child("a")}}));
  EXPECT_EQ(end_of(root), "");
  EXPECT_EQ(board.snapshot().actors.at(0).restarts, 0u);
}

TEST_F(supervisor_test, the_last_of_several_changes_holds) {
  auto root = supervise({}, {slow_child("a"), slow_child("b")});
  testing::ended_at_scope_exit end{root};
  take_events();
  const auto first = change(root, {{"a", child("a")}, {"b", std::nullopt}});
  const auto second = change(root, {{"a", std::nullopt}, {"b", child("b")}});
  close("a");
  EXPECT_FALSE(*first || *second);
  close("b");
  EXPECT_TRUE(*first && *second);
  EXPECT_EQ(take_events(), (events_list{"-a", "-b", "+b"}));
}

TEST_F(supervisor_test, a_child_may_go_and_come_in_one_change) {
  auto root = supervise({}, {child("a")});
  testing::ended_at_scope_exit end{root};
  take_events();
  EXPECT_TRUE(*change(root, {{"a", std::nullopt}, {"a", child("a")}}));
  EXPECT_EQ(take_events(), (events_list{"-a", "+a"}));
}

TEST_F(supervisor_test, a_child_that_is_about_to_be_restarted_is_dropped_or_replaced_at_once) {
  supervisor_config config;
  config.backoff_min = 100ms;
  auto root = supervise(config, {child("a"), child("b")});
  testing::ended_at_scope_exit end{root};
  crash("a");
  crash("a");
  crash("b"); // both wait for the backoff now
  take_events();
  EXPECT_TRUE(*change(root, {{"a", std::nullopt}, {"b", child("b")}}));
  EXPECT_EQ(take_events(), (events_list{"+b"}));
  pass(1s);
  EXPECT_EQ(take_events(), events_list{});
}

TEST_F(supervisor_test, what_it_does_not_know_is_gone_already) {
  auto root = supervise({}, {child("a")});
  testing::ended_at_scope_exit end{root};
  take_events();
  EXPECT_TRUE(*change(root, {{"b", std::nullopt}}));
  EXPECT_TRUE(*change(root, {}));
  EXPECT_EQ(take_events(), events_list{});
}

TEST_F(supervisor_test, the_actors_of_a_subtree_are_forgotten_with_it) {
  supervisor_config inner;
  inner.name = "p";
  child_spec subtree;
  subtree.name = "p";
  subtree.kind = "supervisor";
  subtree.start = [this, inner](caf::actor_system& where) -> caf::actor {
    return where.spawn(supervisor, inner, std::vector{child("p/poller")}, &directory);
  };
  auto root = supervise({}, {subtree, child("pq")});
  testing::ended_at_scope_exit end{root};
  EXPECT_TRUE(*change(root, {{"p", std::nullopt}}));
  EXPECT_EQ(names_on_board(), (events_list{"pq"}));
}

TEST_F(supervisor_test, starts_nobody_once_it_is_to_end) {
  auto root = supervise({}, {slow_child("a"), slow_child("b")});
  const auto before = change(root, {{"a", child("a")}});
  caf::anon_send_exit(root, caf::exit_reason::user_shutdown);
  settle();
  take_events();
  const auto after = change(root, {{"c", child("c")}});
  close("a");
  close("b");
  EXPECT_EQ(end_of(root), "stopped");
  EXPECT_EQ(take_events(), (events_list{"-a", "-b"}));
  EXPECT_FALSE(*before || *after);
  EXPECT_EQ(before.use_count(), 1) << "whoever waits is told that nothing comes any more";
  EXPECT_EQ(after.use_count(), 1);
}

} // namespace penstock::actors
