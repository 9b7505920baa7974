// A list whose items move to their new places, where the reader has nothing against motion.

import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const TIMING: KeyframeAnimationOptions = { duration: 420, easing: "cubic-bezier(.2, .7, .2, 1)" };

/** Of a list whose children have data-key; `order` changes when they move. */
export function useMovingItems(list: RefObject<HTMLElement | null>, order: string): void {
  const before = useRef(new Map<string, number>());
  useLayoutEffect(() => {
    const after = new Map<string, number>();
    for (const child of list.current?.children ?? []) {
      const { offsetTop, dataset } = child as HTMLElement;
      const key = dataset["key"] ?? "";
      after.set(key, offsetTop);
      if (before.current.size && !STILL.matches) move(child, before.current.get(key), offsetTop);
    }
    before.current = after;
  }, [order]);
}

function move(child: Element, from: number | undefined, to: number): void {
  if (from === undefined) {
    child.animate([{ opacity: 0, transform: "translateX(1rem)" }, {}], TIMING);
  } else if (from !== to) {
    child.animate([{ transform: `translateY(${from - to}px)` }, {}], TIMING);
  }
}
