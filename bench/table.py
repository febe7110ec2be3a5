#!/usr/bin/env python3
"""Prints a result of bench/run as a table.  bench/table.py FILE.json"""
import json
import sys


def articles(shape, data):
    quoted = {"gpt2-xl": 3.75, "gpt-j": 4.0, "mistral-7b": 3.5, "llama-13b": 4.1}[shape]
    print(f"prompt of {data['prompt']} tokens; articles quote {quoted}x without a length")
    print(f"  {'generated':>10}{'cached t/s':>12}{'uncached t/s':>14}{'speedup':>9}   rows of keys and values projected")
    for r in data["rows"]:
        print(f"  {r['tokens']:>10}{r['cached_tokens_per_second']:>12.2f}{r['uncached_tokens_per_second']:>14.3f}{r['speedup']:>8.1f}x"
              f"   {r['projected_rows_cached']} against {r['projected_rows_uncached']}{'   (extrapolated)' if r['extrapolated'] else ''}")


def main():
    if sys.argv[1] == "--articles":
        articles(sys.argv[2], json.loads(sys.argv[3]))
        return
    with open(sys.argv[1]) as f:
        data = json.load(f)
    if "items" in data:
        print(f"{data['threads']} threads, {data['isa']}; read bandwidth {data['read_bandwidth'] / 1e9:.1f} GB/s, "
              f"FMA peak {data['fma_peak'] / 1e9:.0f} GFLOP/s, int8 peak {data.get('int8_peak', 0) / 1e9:.0f} GOP/s; medians (least..most)")
        for i in data["items"]:
            bar = "" if not i["bar"] else f"   bar {100 * i['bar']:.0f} %: {'reached' if i['share'] >= i['bar'] else 'MISSED'}"
            print(f"  {i['name']:<61}{i['median'] / 1e9:7.1f} ({i['least'] / 1e9:.1f}..{i['most'] / 1e9:.1f}) "
                  f"{'GB/s' if i['limit'] == 'read' else 'GFLOP/s'}  {100 * i['share']:.0f} %{bar}")
    elif "rows" in data:
        print(f"prompt of {data['prompt']} tokens; predicted: from read bandwidth {data['read_bandwidth'] / 1e9:.1f} GB/s and "
              f"FMA peak {data['fma_peak'] / 1e9:.0f} GFLOP/s of this run (formula in bench/lengths.cpp)")
        print(f"  {'model':<20}{'generated':>10}{'cached t/s':>12}{'uncached t/s':>14}{'ratio':>9}{'predicted':>11}{'reached':>9}")
        for r in data["rows"]:
            print(f"  {r['model']:<20}{r['generated']:>10}{r['cached_tokens_per_second']:>12.1f}{r['uncached_tokens_per_second']:>14.2f}"
                  f"{r['ratio']:>8.1f}x{r['predicted']:>10.1f}x{r['ratio'] / r['predicted']:>9.2f}")
    else:
        for name, r in data.items():
            about = (f"   Cairn {r['ratio']:.2f}x  ({', '.join(' '.join(v) for v in r['versions'].items())}; best of "
                     f"{len(r['tried'])} thread settings)") if "ratio" in r else ""
            print(f"  {name:<14}{r['median']:8.1f} tokens/s  ({r['least']:.1f}..{r['most']:.1f}){about}")


if __name__ == "__main__":
    main()
