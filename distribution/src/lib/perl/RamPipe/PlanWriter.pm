package RamPipe::PlanWriter;

# Writes the log that makes the disk equal to what a plan saw, and stages what is new.
# Nothing below the target changes.

use strict;
use warnings;
use Errno qw(EPERM EOPNOTSUPP EMLINK ENOENT ESTALE EXDEV ETXTBSY ENOSYS);
use RamPipe::Apply ();
use RamPipe::Attributes qw(attributes_of same_attributes give_attributes);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Plan ();
use RamPipe::RedoLog qw(NONE ROOT MAX_DATA was);
use RamPipe::Staging ();
use RamPipe::Text qw(shown);
use RamPipe::Upper ();

use constant {
    MOST_FSYNCS => 16,              # more staged files are made durable together
    BLOCK       => 4096,            # changes are found, and holes kept, in blocks of this size
    GROWS       => 64 * 1024,       # a smaller file is always changed in place
    MARGIN      => 8 * 1024 * 1024, # free disk that is not counted on
};

# plan, drift, staging, held (see RamPipe::Apply), log (a RamPipe::RedoLog writer), sequence,
# mounted, progress.
sub new {
    my ($class, %given) = @_;
    my $pattern = join '', map { pack 'L', int rand 2**32 } 1 .. BLOCK / 4;
    return bless {
        %given,
        place => $given{plan}{place},
        names => 0, files => 0, directories => 1, reserved => 0, bytes => 0, staged_bytes => 0, staged_files => 0,
        open => {}, unsynced => [], node => {}, in_place => {}, changed => {}, file_placements => [], later => [],
        pattern => $pattern x (MAX_DATA / BLOCK),
    }, $class;
}

sub next_name {
    my $self = shift;
    return RamPipe::Staging::prefix($self->{sequence}) . $self->{names}++;
}

sub write {
    my ($self, %header) = @_;
    my ($log, $plan) = @{$self}{qw(log plan)};
    $log->write('Header', %header);
    my $root = $plan->{root};
    $root->{id} = ROOT;
    $log->write('Directory', id => ROOT, inode => $root->{inode}, old_parent => NONE, old_name => '',
        new_parent => NONE, new_name => '', staged => '');
    for my $d (@{ $plan->{directories} }) {
        $self->stage($d) if RamPipe::Plan::is_new($d);
    }
    $self->node_of($_) for $plan->nodes;
    $self->structure;
    return;
}

# Directories

sub stage {
    my ($self, $d) = @_;
    my $top = !RamPipe::Plan::is_new($d->{new_parent});
    $d->{staged} = $top ? $self->next_name : "$d->{new_parent}{staged}/$d->{new_name}";
    my $parent = $top ? $self->{staging}->fd : $self->staged_directory($d->{new_parent}{staged});
    mkdir_at($parent, $top ? $d->{staged} : $d->{new_name}, 0700);
    $self->{staged_files}++;
    return;
}

sub staged_directory {
    my ($self, $path) = @_;
    return $self->{staging}->fd if $path eq '';
    my $open = $self->{open};
    %$open = () if keys %$open >= 64;
    return $open->{$path} ||= open_beneath($self->{staging}->fd, $path, O_RDONLY | O_DIRECTORY);
}

# The number of a directory; it and what it is found by are described in the log.
sub ref_of {
    no warnings 'recursion';
    my ($self, $d) = @_;
    return NONE     if !$d;
    return $d->{id} if defined $d->{id};
    $d->{id} = $self->{directories}++;
    my $same = ($d->{old_parent} ? $d->{old_parent} + 0 : 0) == ($d->{new_parent} ? $d->{new_parent} + 0 : 0);
    my $old  = $same ? NONE : $self->ref_of($d->{old_parent});
    my $new  = $self->ref_of($d->{new_parent});
    if (RamPipe::Plan::moved($d)) {
        $d->{staged} = $self->next_name;
        $old = $self->ref_of($d->{old_parent});
    }
    my $inode = $d->{inode};
    if (RamPipe::Plan::is_new($d)) {
        my ($parent, $name) = $d->{staged} =~ m{^(?:(.*)/)?([^/]*)\z}s;
        $inode = stat_at($self->staged_directory($parent // ''), $name)->{inode};
    }
    $self->{log}->write('Directory', id => $d->{id}, inode => $inode, old_parent => $old,
        old_name => $old == NONE ? '' : $d->{old_name}, new_parent => $new,
        new_name => $new == NONE ? '' : $d->{new_name}, staged => $d->{staged});
    return $d->{id};
}

# Files

sub node_of {
    my ($self, $n) = @_;
    my $fd = $self->{plan}->open_upper($n, is_regular($n->{upper}) ? RamPipe::Upper::READ : O_PATH | O_NOFOLLOW, 1);
    RamPipe::Upper::refuse_metacopy($fd);
    $n->{sum} = 0;
    return if $n->{lower} && $self->change($n, $fd);
    undef $n->{lower};
    $n->{sum} = 0;
    $self->create($n, $fd);
    return;
}

# Changes the file that is on disk. False if that cannot be done, with nothing written.
sub change {
    my ($self, $n, $fd) = @_;
    # A name that it has on disk and keeps.
    my ($home) = grep { $_->{lower} && $_->{lower}{inode} == $n->{lower}{inode} && !RamPipe::Plan::is_new($_->{dir}) }
        @{ $n->{names} };
    my $more = grep { !$_->{lower} || $_->{lower}{inode} != $n->{lower}{inode} } @{ $n->{names} };
    my $link = '';
    if (!$home || $more) {
        $link = $self->next_name;
        $self->link_lower($n, $home, $link) or return 0;
    }
    my $id        = $self->{files}++;
    my $described = 0;
    # Only described if there is something to say about it.
    my $describe = sub {
        return if $described++;
        my $at_home = $link eq '';
        $self->{log}->write('File', id => $id, inode => $n->{lower}{inode}, file_type => $n->{lower}{type},
            home => $at_home ? $self->ref_of($home->{dir}) : NONE, home_name => $at_home ? $home->{name} : '',
            staged => $link);
        $self->{node}{$id} = $n;
        $self->{changed}{ $n->{upper}{inode} } = 1;
        $self->{work} = 1;
    };
    my $wanted = attributes_of($fd, $n->{upper});
    my $below;
    if (is_regular($n->{upper})) {
        $below = $self->open_lower($n, $home, $link) or return 0;
        my $s = stat_of($below);
        # What is to be changed in place, as the plan has found it.
        $self->{in_place}{$id} = was($n->{lower});
        return 0 if $self->better_whole($n, $s);
        $self->compare($n, $fd, $below, $s->{size}, $id, $describe);
    } else {
        my $dir = $link ne '' ? $self->{staging}->fd : $self->{plan}->open_lower($home->{dir});
        $below = open_at($dir, $link ne '' ? $link : $home->{name}, O_PATH | O_NOFOLLOW);
    }
    my $now = attributes_of($below, stat_of($below));
    if ($described || !same_attributes($wanted, $now, is_symlink($n->{upper}))) {
        $describe->();
        push @{ $self->{later} }, ['FileAttributes', file => $id, attributes => $wanted];
    }
    if ($link ne '') {
        $describe->();
        $self->place($n, $id, $n->{lower}{inode}, $link, 1);
    }
    return 1;
}

# Gives the file on disk a name in the staging directory.
sub link_lower {
    my ($self, $n, $home, $link) = @_;
    my $staged = $self->{staging}->fd;
    $self->{drift}->about_to_link($n->{lower}{inode});
    my $linked = eval {
        if (defined $n->{origin}) {
            link_fd(open_handle($self->{place}{disk}{root}, $n->{origin}, O_PATH), $staged, $link);
        } else {
            link_at($self->{plan}->open_lower($home->{dir}), $home->{name}, $staged, $link);
        }
        1;
    };
    if (!$linked) {
        return 0 if RamPipe::Error::failed($@, EPERM, EOPNOTSUPP, EMLINK, ENOENT, ESTALE, EXDEV);
        die $@;
    }
    return 1 if stat_at($staged, $link)->{inode} == $n->{lower}{inode};
    unlink_at($staged, $link);
    return 0;
}

sub open_lower {
    my ($self, $n, $home, $link) = @_;
    my $fd = eval {
        my $dir = $link ne '' ? $self->{staging}->fd : $self->{plan}->open_lower($home->{dir});
        RamPipe::Apply::open_file($self->{place}, $self->{held}, $dir, $link ne '' ? $link : $home->{name},
            $n->{lower}{inode});
    };
    return $fd if $fd;
    # It is being run from disk: it gets a successor.
    return if RamPipe::Error::failed($@, ETXTBSY);
    die $@ if $@;
    return if $link ne '';
    RamPipe::Error::refused(shown($home->{name}) . ' was replaced on disk while being compared');
}

# Growing in place takes the room twice, in the log and in the file. Without that room a
# file is written as a whole, unless programs may be waiting for the one on disk.
sub better_whole {
    my ($self, $n, $below) = @_;
    my $growth = $n->{upper}{size} - $below->{size};
    return 0
        if !$self->{mounted} || $n->{upper}{size} < GROWS || $growth <= $n->{upper}{size} / 2 || $n->{lower}{links} != 1;
    return 2 * $growth + MARGIN > room($self->{place}{directory});
}

# A part of a file in upper, which must still be as it was looked at.
sub read_upper {
    my ($self, $n, $fd, $offset, $length) = @_;
    my $bytes = read_at($fd, $length, $offset);
    RamPipe::Error::moving("$fd") if length $bytes < $length || !unchanged(stat_of($fd), $n->{upper});
    # Times say nothing about files that are mapped; see check_mapped.
    $n->{sum} += unpack '%64Q*', $bytes . "\0" x (-$length & 7) ^ substr $self->{pattern}, 0, $length + 7 & ~7
        if $n->{mapped};
    return $bytes;
}

# Calls back for each part of a file that is data: offset, bytes; and for each that is a
# hole: offset, length.
sub parts {
    my ($self, $n, $fd, $data, $hole) = @_;
    my $size = $n->{upper}{size};
    my $at   = 0;
    while ($at < $size) {
        my $from = next_data($fd, $at) // $size;
        $from = $size if $from > $size;
        $hole->($at, $from - $at) if $hole && $from > $at;
        last if $from >= $size;
        my $to = next_hole($fd, $from);
        $to = $size if $to > $size;
        for ($at = $from; $at < $to; ) {
            my $length = $to - $at < MAX_DATA ? $to - $at : MAX_DATA;
            my $bytes = $self->read_upper($n, $fd, $at, $length);
            $data->($at, $bytes) if $data;
            $at += $length;
        }
    }
    return;
}

# Writes down what must change in the file on disk to make it equal, in blocks.
sub compare {
    my ($self, $n, $fd, $below, $lower_size, $id, $describe) = @_;
    my $log = $self->{log};
    if ($n->{upper}{size} != $lower_size) {
        $describe->();
        $log->write('Size', file => $id, size => $n->{upper}{size});
    }
    my $write = sub {
        my ($offset, $bytes) = @_;
        $describe->();
        $self->count_room($below, $offset, length $bytes);
        $log->write('Data', file => $id, offset => $offset, length => length $bytes, bytes => $bytes);
        $self->{bytes} += length $bytes;
        $self->{progress}->($self->{bytes} + $self->{staged_bytes}) if $self->{progress};
    };
    $self->parts($n, $fd, sub {
        my ($offset, $bytes) = @_;
        my $theirs = $offset < $lower_size ? read_at($below, length $bytes, $offset) : '';
        return if $theirs eq $bytes;
        my $start;
        for (my $block = 0; $block < length $bytes; $block += BLOCK) {
            my $same = substr($bytes, $block, BLOCK) eq (length $theirs > $block ? substr $theirs, $block, BLOCK : '');
            $start = $block if !$same && !defined $start;
            if ($same && defined $start) {
                $write->($offset + $start, substr $bytes, $start, $block - $start);
                undef $start;
            }
        }
        $write->($offset + $start, substr $bytes, $start) if defined $start;
    }, sub {
        # What is a hole above must be one below.
        my ($at, $length) = @_;
        my $to = $at + $length < $lower_size ? $at + $length : $lower_size;
        while ($at < $to) {
            my $data = next_data($below, $at);
            return if !defined $data || $data >= $to;
            my $end = next_hole($below, $data);
            $end = $to if $end > $to;
            $describe->();
            $log->write('Hole', file => $id, offset => $data, length => $end - $data);
            $at = $end;
        }
    });
    return;
}

# Once the log is committed, writing what it says must not fail for want of room. Not
# reserved in the file itself: that would take away its capabilities and change its times
# (fallocate(2) counts as a write).
sub count_room {
    my ($self, $below, $offset, $length) = @_;
    my $data = next_data($below, $offset);
    $self->{reserved} += $length + 2 * BLOCK
        if !defined $data || $data != $offset || next_hole($below, $offset) < $offset + $length;
    return;
}

sub reserve {
    my $self = shift;
    return if !$self->{reserved};
    my $fd = open_at($self->{staging}->fd, RamPipe::Staging::reserve($self->{sequence}),
        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    eval { allocate($fd, $self->{reserved}); 1 }
        or RamPipe::Error::failed($@, EOPNOTSUPP, ENOSYS)
        or die $@;
    return;
}

# Copies all data into an empty file; holes stay holes.
sub copy {
    my ($self, $n, $fd, $to) = @_;
    $self->parts($n, $fd, sub {
        my ($offset, $bytes) = @_;
        write_at($to, $bytes, $offset);
        $self->{staged_bytes} += length $bytes;
        $self->{progress}->($self->{bytes} + $self->{staged_bytes}) if $self->{progress};
    });
    truncate_to($to, $n->{upper}{size});
    return;
}

# Writes it as a new file.
sub create {
    my ($self, $n, $fd) = @_;
    my ($in_new) = grep { RamPipe::Plan::is_new($_->{dir}) } @{ $n->{names} };
    my $dir  = $in_new ? $self->staged_directory($in_new->{dir}{staged}) : $self->{staging}->fd;
    my $name = $in_new ? $in_new->{name} : $self->next_name;
    $self->{changed}{ $n->{upper}{inode} } = 1;
    $self->{staged_files}++;
    my $u = $n->{upper};
    if (is_regular($u)) {
        my $out = open_at($dir, $name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        $self->copy($n, $fd, $out);
        give_attributes(attributes_of($fd, $u), $out);
        if (@{ $self->{unsynced} } < MOST_FSYNCS) {
            push @{ $self->{unsynced} }, $out;
        } else {
            $self->{sync_all} = 1;
        }
    } else {
        if (is_symlink($u)) {
            symlink_at(readlink_of($fd), $dir, $name);
        } else {
            mknod_at($dir, $name, $u->{type} | 0600, $u->{rdev_major}, $u->{rdev_minor});
        }
        give_attributes(attributes_of($fd, $u), open_at($dir, $name, O_PATH | O_NOFOLLOW));
        $self->{sync_all} = 1;
    }
    my $inode   = stat_at($dir, $name)->{inode};
    my $outside = grep { !RamPipe::Plan::is_new($_->{dir}) } @{ $n->{names} };
    if (!$in_new) {
        $self->place($n, $self->describe_staged($n, $inode, $name), $inode, $name, 0);
        return;
    }
    my ($link, $id);
    if ($outside) {
        $link = $self->next_name;
        link_at($dir, $name, $self->{staging}->fd, $link);
        $id = $self->describe_staged($n, $inode, $link);
    }
    for my $other (@{ $n->{names} }) {
        next if $other == $in_new || !RamPipe::Plan::is_new($other->{dir});
        link_at($self->staged_directory($in_new->{dir}{staged}), $name,
            $self->staged_directory($other->{dir}{staged}), $other->{name});
    }
    $self->place_outside($n, $id, $inode, 1) if $outside;
    return;
}

sub describe_staged {
    my ($self, $n, $inode, $name) = @_;
    my $id = $self->{files}++;
    $self->{log}->write('File', id => $id, inode => $inode, file_type => $n->{upper}{type}, home => NONE,
        home_name => '', staged => $name);
    $self->{node}{$id} = $n;
    return $id;
}

# Gives a staged file all names that it does not have yet.
sub place {
    my ($self, $n, $id, $inode, $staged, $keep) = @_;
    for my $name (@{ $n->{names} }) {
        next if !RamPipe::Plan::is_new($name->{dir});
        link_at($self->{staging}->fd, $staged, $self->staged_directory($name->{dir}{staged}), $name->{name});
    }
    $self->place_outside($n, $id, $inode, $keep);
    return;
}

sub place_outside {
    my ($self, $n, $id, $inode, $keep) = @_;
    my @wanted = grep { !RamPipe::Plan::is_new($_->{dir}) && (!$_->{lower} || $_->{lower}{inode} != $inode) }
        @{ $n->{names} };
    for my $i (0 .. $#wanted) {
        my $name = $wanted[$i];
        $self->{work} = 1;
        $name->{dir}{touched} = 1;
        push @{ $self->{file_placements} }, { file => $id, dir => $name->{dir}, name => $name->{name},
            expected => $name->{lower}, last => !$keep && $i == $#wanted };
    }
    return;
}

# The rest of the log

sub structure {
    my $self = shift;
    my ($log, $plan) = @{$self}{qw(log plan)};
    my @directories = @{ $plan->{directories} };
    for my $d (grep { RamPipe::Plan::moved($_) } @directories) {
        $self->{work} = 1;
        $log->write('Detach', directory => $self->ref_of($d));
    }
    for my $r (@{ $plan->{removals} }) {
        $self->{work} = 1;
        $log->write('Remove', directory => $self->ref_of($r->{dir}), name => $r->{name}, inode => $r->{lower}{inode},
            is_directory => is_directory($r->{lower}), was => was($r->{lower}));
    }
    for my $d (@directories) {
        next if !RamPipe::Plan::moved($d) && !(RamPipe::Plan::is_new($d) && !RamPipe::Plan::is_new($d->{new_parent}));
        $self->{work} = 1;
        $log->write('PlaceDirectory', directory => $self->ref_of($d));
    }
    for my $p (@{ $self->{file_placements} }) {
        $log->write('PlaceFile', file => $p->{file}, directory => $self->ref_of($p->{dir}), name => $p->{name},
            expected => $p->{expected} ? $p->{expected}{inode} : 0, last => $p->{last}, was => was($p->{expected}));
    }
    $log->write(@$_) for @{ $self->{later} };
    # Children first: making a staged child complete changes nothing in its parent any more.
    for my $d (reverse @directories) {
        next if $d == $plan->{root} && !$plan->{upper}->whole_directory;
        if (RamPipe::Plan::is_new($d)) {
            $self->finish_directory($d);
        } elsif ($d->{differs} || $d->{touched} || RamPipe::Plan::moved($d)) {
            $self->{work} = 1;
            $log->write('DirectoryAttributes', directory => $self->ref_of($d), attributes => $d->{attributes});
        }
    }
    return;
}

# A new directory gets its attributes when everything is in it that is staged.
sub finish_directory {
    my ($self, $d) = @_;
    my $fd = $self->staged_directory($d->{staged});
    give_attributes($d->{attributes}, $fd);
    $self->{log}->write('DirectoryAttributes', directory => $self->ref_of($d), attributes => $d->{attributes})
        if $d->{touched};
    $self->{sync_all} = 1 if $self->{staged_files} > MOST_FSYNCS;
    sync_file($fd) if !$self->{sync_all};
    return;
}

# Whether there is nothing to do.
sub is_empty { my $self = shift; return !$self->{work} && !$self->{staged_files} }

# Bytes of disk that this needed before the commit.
sub needed { my $self = shift; return $self->{log}->length_so_far + $self->{staged_bytes} + $self->{reserved} }

# Files and directories that are changed, new or removed.
sub changes { my $self = shift; return keys(%{ $self->{changed} }) + @{ $self->{plan}{removals} } }

# Everything that is staged, and the log, are on disk when this returns.
sub make_durable {
    my ($self, $log_fd) = @_;
    $self->reserve;
    if ($self->{sync_all}) {
        sync_file_system($self->{place}{directory});
        return;
    }
    sync_file($_) for @{ $self->{unsynced} };
    my $dir = $self->{staging}->existing;
    sync_file($dir) if $dir;
    sync_file($log_fd);
    return;
}

# Whether files with writable mappings still are as they were copied.
sub check_mapped {
    my $self = shift;
    for my $n ($self->{plan}->nodes) {
        next if !$n->{mapped} || !is_regular($n->{upper});
        my $before = $n->{sum};
        $n->{sum} = 0;
        my $fd = $self->{plan}->open_upper($n, RamPipe::Upper::READ, 1);
        $self->parts($n, $fd);
        RamPipe::Error::moving("$fd") if $n->{sum} != $before;
    }
    return;
}

1;
