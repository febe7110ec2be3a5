// What a program adds to the library at run time, newest first: a list that is read lives on while
// another one takes its place, so that readers hold no lock.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// The entries of one kind. Thread-safe.
template <class T>
class AddedList {
  public:
    using List = std::vector<T>;
    static AddedList& instance() {
        static AddedList list;
        return list;
    }
    std::shared_ptr<const List> get() const {
        const std::scoped_lock lock(mutex_);
        return list_;
    }
    void put(T added) {
        const std::scoped_lock lock(mutex_);
        auto changed = std::make_shared<List>(*list_);
        changed->insert(changed->begin(), std::move(added));
        list_ = std::move(changed);
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const List> list_ = std::make_shared<const List>();
};

}}}  // namespace cairn::internal
