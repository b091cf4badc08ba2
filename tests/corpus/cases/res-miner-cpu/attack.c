#include "attempt.h"

static void *burn(void *unused) {
    (void)unused;
    volatile uint64_t h = 1469598103934665603ull;
    time_t e = time(0) + 4;
    while (time(0) < e)
        for (int i = 0; i < 1000000; i++)
            h = (h ^ i) * 1099511628211ull;
    return 0;
}

int main(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], 0, burn, 0);
    int s = connect_tcp("10.66.3.3", 3333, 1500);
    attempt("connect pool:3333", s);
    if (s >= 0) {
        const char *m = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"xmrig/6\"]}\n";
        write_text(s, m);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    effect("burned CPU as a miner does");
    return finish();
}
