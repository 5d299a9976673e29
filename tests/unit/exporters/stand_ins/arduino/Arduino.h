// Stands in for an Arduino core on the host: a serial port that is stdout, and a clock.
#pragma once
#include <stdint.h>
#include <stdio.h>

inline unsigned long micros() {
  static unsigned long now = 0;
  return now += 10;
}
inline unsigned long millis() { return micros() / 1000; }

struct SerialPort {
  void begin(unsigned long) {}
  operator bool() const { return true; }
  void print(const char *text) { fputs(text, stdout); }
  void print(int value) { printf("%d", value); }
  void println(const char *text) { puts(text); }
  void println(unsigned long value) { printf("%lu\n", value); }
};
static SerialPort Serial;

void setup();
void loop();
