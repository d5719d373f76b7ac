package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TokenizerTest {

    private static final String[] PIECES = { "a", "blue ", "running shoes, ", "   ", "\u00e9", "\u4e2d\u6587", "\ud83d\ude00", "\n", "xqz", "123", "--" };

    @Test
    void aLongTextHasTheTokensOfAllOfIt() {
        Path file = Path.of(System.getProperty("crosslens.model")).resolve("tokenizer.json");
        Random random = new Random(7);
        try (Tokenizer tokenizer = new Tokenizer(file, 77)) {
            for (int i = 0; i < 60; i++) {
                StringBuilder text = new StringBuilder();
                int length = 4_000 + random.nextInt(40_000);
                while (text.length() < length) {
                    // Now and then one piece over and over: a long word, or a long run of spaces.
                    int times = random.nextInt(20) == 0 ? random.nextInt(9_000) : 1;
                    text.append(PIECES[random.nextInt(PIECES.length)].repeat(times));
                }
                List<String> one = List.of(text.toString());
                assertArrayEquals(tokenizer.batch(one)[0], tokenizer.encode(one)[0], () -> one.get(0).substring(0, 100));
            }
        }
    }

    @Test
    void whatFollowsAnyNumberOfSpacesCounts() {
        Path file = Path.of(System.getProperty("crosslens.model")).resolve("tokenizer.json");
        try (Tokenizer tokenizer = new Tokenizer(file, 77)) {
            List<String> texts = List.of("a" + " ".repeat(100_000) + "red shoe", "a red shoe");
            long[][] ids = tokenizer.encode(texts);
            assertArrayEquals(ids[1], ids[0]);
            assertTrue(tokenizer.working(List.of("a".repeat(20_000_000))) < 8 << 20);
        }
    }
}
