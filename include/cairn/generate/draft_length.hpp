// How many tokens to guess: as many as pay, by what steps and rounds were measured to take and by
// how many guesses came true. Rounds that do not pay are paid from an account that fills slowly, so
// that a text on which no guess comes true takes little longer than without a draft.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/generate/draft.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Chooses the lengths of rounds. Deterministic in what it is told; all times are in seconds.
class DraftLength {
  public:
    /// What part of the time without a draft may go into trying, and how many steps at once. A text
    /// of n tokens takes at most (1 + share) * n + initial steps.
    static constexpr double share = 0.01;
    static constexpr double initial = 0.75;

    /// Rounds of at most `most` guesses.
    explicit DraftLength(int most) : most_(most), rounds_(static_cast<std::size_t>(most) + 1) {
        require(most > 0, ErrorCode::invalid_argument, "draft of ", most, " tokens");
    }

    /// Guesses worth making now, 0 to min(most, room), for an outlook of the draft.
    int next(int outlook, int room) const {
        room = std::min(room, most_);
        if (outlook < 0 || room <= 0 || step_ <= 0.0) return 0;  // the first step sets the measure
        if (guess_ < 0.0) room = 1;  // nothing is known of what a guess costs
        const double a = chance(outlook);
        int best = 0;
        double fastest = 1.0 / step_;
        for (int k = 1; k <= room; ++k) {
            const double rate = expected(a, k) / cost(k);
            if (rate > fastest) best = k, fastest = rate;
        }
        while (best > 1 && loss(best) > account_) --best;  // no more than can be lost
        if (best > 0) return loss(best) <= account_ ? best : 0;
        // A try, when there is more to lose than promising guesses may need.
        const int trial = std::min(room, 2);
        return loss(trial) + reserve * step_ <= account_ ? trial : 0;
    }
    /// A step without guesses took so long; `lost`: what the draft took before it gave up.
    void step(double seconds, double lost) {
        step_ = step_ <= 0.0 ? seconds : blend(step_, seconds);
        earn(share * step_ - lost);
    }
    /// A round: its guesses, how many came true, and what draft and check took. `late`: what the
    /// draft took to read text that it had not followed, which a draft in use does not.
    void round(int outlook, int guesses, int accepted, double draft, double check, double late) {
        guess_ = guess_ < 0.0 ? draft / guesses : blend(guess_, draft / guesses);
        double& known = rounds_[static_cast<std::size_t>(guesses)];
        known = known <= 0.0 ? check : blend(known, check);
        Outlook& o = outlooks_[static_cast<std::size_t>(outlook)];
        // A round that failed says nothing of what would have come behind its failure.
        o.hits = decay * o.hits + accepted;
        o.misses = decay * o.misses + (accepted < guesses ? 1.0 : 0.0);
        earn((accepted + 1) * step_ * (1.0 + share) - (draft + check + late));
    }
    /// The chance that the next guess comes true, as seen so far.
    double chance(int outlook) const {
        const Outlook& o = outlooks_[static_cast<std::size_t>(outlook)];
        return std::min((o.hits + 1.0) / (o.hits + o.misses + 1.5), 0.98);
    }
    /// Seconds of a round of k guesses, of which k + 1 rows are checked.
    double cost(int k) const { return k * std::max(guess_, 0.0) + check(k); }

  private:
    struct Outlook {
        double hits = 0.0, misses = 0.0;
    };
    // Tokens of a round: 1 + a + ... + a^k.
    static double expected(double a, int k) {
        double sum = 1.0, power = 1.0;
        for (int i = 0; i < k; ++i) sum += power *= a;
        return sum;
    }
    double loss(int k) const { return std::max(cost(k) - step_, 0.0); }
    // Seconds to check k guesses: measured, or on the line through what is known beside it.
    double check(int k) const {
        int low = 0, high = 0;
        for (int i = 1; i <= most_; ++i) {
            if (rounds_[static_cast<std::size_t>(i)] <= 0.0) continue;
            if (i <= k) low = i;
            if (i >= k && high == 0) high = i;
        }
        const double from = low > 0 ? rounds_[static_cast<std::size_t>(low)] : step_;
        if (low == k) return from;
        double slope = new_row * step_;
        if (high > 0)
            slope = (rounds_[static_cast<std::size_t>(high)] - from) / (high - low);
        else if (low > 0)
            slope = std::max((from - step_) / low, 0.0);
        return std::max(from + slope * (k - low), step_ * 0.5);
    }
    void earn(double seconds) {
        account_ = started_ ? account_ + seconds : initial * step_ + seconds;
        started_ = true;
        account_ = std::min(account_, most_saved * step_);
    }
    // Follows what is faster sooner than what is slower: a machine that was busy elsewhere shows
    // for one measurement, and a step thought too long would make guesses look too good.
    static double blend(double old, double seconds) {
        return seconds < old ? old + 0.3 * (seconds - old)
                             : old + 0.1 * (std::min(seconds, 2.0 * old) - old);
    }
    static constexpr double decay = 0.8;       // of what was seen of guesses, a round
    static constexpr double new_row = 0.2;     // of a step: what one more row is thought to cost
    static constexpr double reserve = 0.4;     // steps that tries leave in the account
    static constexpr double most_saved = 8.0;  // steps that the account holds
    int most_;
    double step_ = 0.0;
    double guess_ = -1.0;         // one guess of the draft
    std::vector<double> rounds_;  // by guesses; 0: not seen yet
    std::array<Outlook, Draft::outlooks> outlooks_{};
    double account_ = 0.0;
    bool started_ = false;
};

}}  // namespace cairn
