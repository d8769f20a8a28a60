package io.rampipe.demo;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** The program: what the scripts call. */
public final class Main {
    private static final String USAGE =
            """
            usage:
              prepare DISK LEDGERS                 write the demonstration's files
              slow DISK LEDGERS RESULTS SECONDS    commits a second in the profile as it is
              show DISK LEDGERS RESULTS OVERLAY CLIENT RUNTIME PIN_RATE [--tty]
              verify DISK LEDGERS [RESULTS KEY]    compare the disk with the ledgers
              report RESULTS                       the table at the end
              prepare-many DISK LEDGERS COUNT      write COUNT profiles
              many DISK LEDGERS COUNT STOP         load on all of them until the file STOP exists
              verify-many DISK LEDGERS COUNT
              bench DIRECTORY SECONDS              commits a second in a new profile there
            """;

    private Main() {}

    public static void main(String[] arguments) {
        Locale.setDefault(Locale.ROOT);
        System.setOut(new PrintStream(System.out, true, StandardCharsets.UTF_8));
        int status;
        try {
            status = run(List.of(arguments)) ? 0 : 1;
        } catch (IndexOutOfBoundsException | NumberFormatException e) {
            System.err.print(USAGE);
            status = 64;
        } catch (Exception e) {
            System.out.flush();
            System.err.println(arguments[0] + ": " + e.getMessage());
            if (e instanceof RuntimeException) {
                e.printStackTrace();
            }
            status = 1;
        }
        System.exit(status);
    }

    private static boolean run(List<String> arguments) throws Exception {
        String mode = arguments.get(0);
        if (mode.equals("report")) {
            return new Report(new Results(path(arguments, 1)).all(), System.out).print();
        }
        if (mode.equals("bench")) {
            bench(path(arguments, 1), Integer.parseInt(arguments.get(2)));
            return true;
        }
        Site site = new Site(path(arguments, 1), path(arguments, 2));
        switch (mode) {
            case "prepare" -> site.create();
            case "slow" -> {
                Results results = new Results(path(arguments, 3));
                int seconds = Integer.parseInt(arguments.get(4));
                results.put("disk.rate", Show.measure(site.profile(), seconds).rate());
            }
            case "show" -> {
                Client client =
                        new Client(
                                path(arguments, 5),
                                path(arguments, 6),
                                site.ledgers().resolveSibling("client.log"));
                new Show(
                                site,
                                path(arguments, 4),
                                client,
                                Double.parseDouble(arguments.get(7)),
                                arguments.contains("--tty"),
                                new Results(path(arguments, 3)))
                        .run();
            }
            case "verify" -> {
                Findings findings = new Findings();
                site.check(findings);
                if (arguments.size() > 4) {
                    new Results(path(arguments, 3))
                            .put(arguments.get(4), findings.good() ? findings : "WRONG, see above");
                }
                return told(findings);
            }
            case "prepare-many" -> many(site, arguments).create();
            case "many" -> many(site, arguments).run(path(arguments, 4));
            case "verify-many" -> {
                Findings findings = new Findings();
                many(site, arguments).check(findings);
                return told(findings);
            }
            default -> {
                System.err.print(USAGE);
                return false;
            }
        }
        return true;
    }

    private static Many many(Site site, List<String> arguments) throws Exception {
        return new Many(site.profiles(Integer.parseInt(arguments.get(3))));
    }

    private static boolean told(Findings findings) {
        for (String problem : findings.problems()) {
            System.out.println("WRONG: " + problem);
        }
        System.out.println("found " + findings);
        return findings.good();
    }

    private static void bench(Path directory, int seconds) throws Exception {
        Path scratch = Files.createTempDirectory(directory, "bench-");
        Profile profile = new Profile(scratch.resolve("profile"), Ledger.open(scratch, "ledger"));
        profile.create(2_000);
        for (int i = 0; i < 3; i++) {
            System.out.printf("%.0f commits/s%n", Show.measure(profile, seconds).rate());
        }
        try (java.util.stream.Stream<Path> all = Files.walk(scratch)) {
            for (Path path : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    private static Path path(List<String> arguments, int index) {
        return Path.of(arguments.get(index)).toAbsolutePath();
    }
}
