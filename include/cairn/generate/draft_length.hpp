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
    /// What part of the time without a draft may go into rounds that do not pay.
    static constexpr double share = 0.01;

    /// Rounds of at most `most` guesses in a text of about `tokens` tokens: what `share` of them
    /// take may be lost at once, up to 2.5 steps, so that the whole text takes 2 % longer at most.
    DraftLength(int most, int tokens)
        : most_(most),
          initial_(std::min(share * tokens, 2.5)),
          rounds_(static_cast<std::size_t>(std::max(most, 0)) + 1) {
        require(most > 0, ErrorCode::invalid_argument, "draft of ", most, " tokens");
    }

    /// Guesses worth making now, 0 to min(most, room), for an outlook of the draft.
    int next(int outlook, int room) const {
        room = std::min(room, most_);
        if (outlook < 0 || room <= 0 || step_ <= 0.0) return 0;  // the first step sets the measure
        // What is not known yet is tried in small steps.
        int longest = most_;
        while (longest > 0 && rounds_[static_cast<std::size_t>(longest)] <= 0.0) --longest;
        room = std::min(room, std::max(2 * longest, 2));
        int best = fastest(chance(outlook), room);
        while (best > 1 && loss(best) > account_) --best;  // no more than can be lost
        if (best > 0) return loss(best) <= account_ ? best : 0;
        // A try, when there is more to lose than promising guesses may need: as long as would pay
        // if luck had changed.
        const int trial = std::max(fastest(hope, room), std::min(room, 2));
        return loss(trial) + (longest > 0 ? reserve * step_ : 0.0) <= account_ ? trial : 0;
    }
    /// A step without guesses took so long; `lost`: what the draft took before it gave up.
    void step(double seconds, double lost) {
        step_ = step_ <= 0.0 ? seconds : blend(step_, seconds);
        earn(share * step_ - lost);
        // What was seen long ago says little of the text as it is now.
        for (Outlook& o : outlooks_) o.hits *= fading, o.misses *= fading;
    }
    /// A round: its guesses, how many came true, and what draft and check took. `late`: what the
    /// draft took to read text that it had not followed, which a draft in use does not.
    void round(int outlook, int guesses, int accepted, double draft, double check, double late) {
        guess_ = guess_ < 0.0 ? draft / guesses : blend(guess_, draft / guesses);
        double& known = rounds_[static_cast<std::size_t>(guesses)];
        // The first round of a length makes room for its rows, too.
        known = known <= 0.0 ? std::min(check, 1.5 * this->check(guesses)) : blend(known, check);
        Outlook& o = outlooks_[static_cast<std::size_t>(outlook)];
        // A round that failed says nothing of what would have come behind its failure.
        o.hits = decay * o.hits + accepted;
        o.misses = decay * o.misses + (accepted < guesses ? 1.0 : 0.0);
        earn((accepted + 1) * step_ * (1.0 + share) - (draft + check + late));
    }
    /// The chance that the next guess comes true, as seen so far; before anything was seen 2/3, and
    /// more for a better outlook.
    double chance(int outlook) const {
        const Outlook& o = outlooks_[static_cast<std::size_t>(outlook)];
        return std::min((o.hits + 1.0 + outlook) / (o.hits + o.misses + 1.5 + outlook), 0.98);
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
    // The length with the most tokens a second, 0 where none is faster than steps.
    int fastest(double a, int room) const {
        int best = 0;
        double most = 1.0 / step_;
        for (int k = 1; k <= room; ++k) {
            const double rate = expected(a, k) / cost(k);
            if (rate > most) best = k, most = rate;
        }
        return best;
    }
    double loss(int k) const { return std::max(cost(k) - step_, 0.0); }
    // Seconds to check k guesses: measured, or on the line through what is known beside it. Two
    // rows take much longer than one, and every further one a little: a step of no guesses says
    // nothing.
    double check(int k) const {
        int low = 0, high = 0, least = 0, greatest = 0;
        for (int i = 1; i <= most_; ++i) {
            if (rounds_[static_cast<std::size_t>(i)] <= 0.0) continue;
            if (least == 0) least = i;
            greatest = i;
            if (i <= k) low = i;
            if (i >= k && high == 0) high = i;
        }
        const auto known = [&](int i) { return rounds_[static_cast<std::size_t>(i)]; };
        if (least == 0) return step_ * (2.0 + new_row * k);
        const double slope =
            least == greatest ? new_row * step_
                              : std::max(known(greatest) - known(least), 0.0) / (greatest - least);
        if (low == 0) return std::max(known(high) - slope * (high - k), step_);
        if (high == 0) return known(low) + slope * (k - low);
        if (low == high) return known(low);
        return known(low) + (known(high) - known(low)) * (k - low) / (high - low);
    }
    void earn(double seconds) {
        account_ = started_ ? account_ + seconds : initial_ * step_ + seconds;
        started_ = true;
        account_ = std::min(account_, most_saved * step_);
    }
    // Follows what is faster sooner than what is slower: a machine that was busy elsewhere shows
    // for one measurement, and a step thought too long would make guesses look too good.
    static double blend(double old, double seconds) {
        return seconds < old ? old + 0.3 * (seconds - old)
                             : old + 0.1 * (std::min(seconds, 2.0 * old) - old);
    }
    static constexpr double hope = 0.85;       // a chance that is worth a try
    static constexpr double decay = 0.9;       // of what was seen of guesses, a round
    static constexpr double fading = 0.98;     // the same, a step
    static constexpr double new_row = 0.12;    // of a step: what one more row is thought to cost
    static constexpr double reserve = 0.4;     // steps that tries leave in the account
    static constexpr double most_saved = 8.0;  // steps that the account holds
    int most_;
    double initial_;  // steps in the account at the beginning
    double step_ = 0.0;
    double guess_ = -1.0;         // one guess of the draft
    std::vector<double> rounds_;  // by guesses; 0: not seen yet
    std::array<Outlook, Draft::outlooks> outlooks_{};
    double account_ = 0.0;
    bool started_ = false;
};

}}  // namespace cairn
