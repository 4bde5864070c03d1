// A value, or the error that stands in its place.
#pragma once

#include "core/assert.hpp"
#include "core/error.hpp"

#include <optional>
#include <utility>
#include <variant>

namespace penstock {

template <class T>
class [[nodiscard]] result {
public:
  result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  result(penstock::error failure) : content_(std::in_place_index<1>, std::move(failure)) {}

  explicit operator bool() const noexcept { return content_.index() == 0; }

  T& operator*() & { return value(); }
  const T& operator*() const& { return const_cast<result*>(this)->value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &**this; }

  /// Only where there is no value.
  const penstock::error& error() const {
    assert_that(content_.index() == 1, "error() of a result that has a value");
    return std::get<1>(content_);
  }

private:
  T& value() {
    assert_that(content_.index() == 0, "value of a result that has an error");
    return std::get<0>(content_);
  }
  std::variant<T, penstock::error> content_;
};

template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(penstock::error failure) : failure_(std::move(failure)) {}

  explicit operator bool() const noexcept { return !failure_.has_value(); }

  /// Only where the call failed.
  const penstock::error& error() const {
    assert_that(failure_.has_value(), "error() of a result that succeeded");
    return *failure_;
  }

private:
  std::optional<penstock::error> failure_;
};

} // namespace penstock
