#include "attempt.h"

int main(void) {
    int s = attempt("socket AF_PACKET", socket(AF_PACKET, SOCK_RAW, htons(3)));
    if (s >= 0) {
        effect("packet socket open");
        char b[2048];
        attempt("recv", recv(s, b, sizeof b, MSG_DONTWAIT));
    }
    return finish();
}
